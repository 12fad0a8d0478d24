//! The thread that polls the server, so that keys work while a request is pending.

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use threadcast::client::{Client, Error};

use super::sample::Sample;
use super::selection::Listing;
use crate::cli::error::CliError;

/// Polls the server until it is dropped. Does not join the thread, since a request may take long and the program exits.
#[derive(Debug)]
pub(super) struct Watch {
    answers: Receiver<Answer>,
    open: Sender<Option<String>>,
}

/// What the server answered.
#[derive(Debug)]
pub(super) enum Answer {
    Sample(Result<Box<Sample>, Error>),
    Listing(Listing),
}

/// How many subscribers of a topic to request: more than a screen shows.
const MAX_SUBSCRIBERS: u64 = 1000;

impl Watch {
    pub(super) fn start(client: Client, interval: Duration) -> Result<Watch, CliError> {
        let (sender, answers) = bounded(1);
        let (open, opened) = unbounded::<Option<String>>();
        let watch = move || {
            let mut topic = None;
            let mut next = Instant::now() + interval;
            loop {
                let answer = match opened.recv_deadline(next) {
                    Ok(newer) => {
                        topic = opened.try_iter().last().unwrap_or(newer);
                        None
                    }
                    Err(RecvTimeoutError::Timeout) => Some(Sample::take(&client)),
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                if let Some(sample) = answer {
                    next = Instant::now() + interval;
                    if sender.send(Answer::Sample(sample.map(Box::new))).is_err() {
                        return;
                    }
                }
                if let Some(topic) = &topic {
                    let listing = Listing::take(&client, topic, MAX_SUBSCRIBERS);
                    if sender.send(Answer::Listing(listing)).is_err() {
                        return;
                    }
                }
            }
        };
        thread::Builder::new()
            .name("watch".to_owned())
            .spawn(watch)
            .map_err(CliError::failed)?;
        Ok(Watch { answers, open })
    }

    /// Requests the subscribers of this topic from now on, at once and with each sample.
    pub(super) fn open(&self, topic: Option<&str>) {
        // Without the thread there are no answers either.
        let _ = self.open.send(topic.map(str::to_owned));
    }

    /// The next answer, if it has arrived.
    pub(super) fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}
