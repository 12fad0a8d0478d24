//! The thread that polls the server, so that keys work while a request is pending.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use threadcast::client::{Client, Error};

use super::sample::Sample;
use crate::cli::error::CliError;

/// Polls the server until it is dropped. Does not join the thread, since a request may take long and the program exits.
#[derive(Debug)]
pub(super) struct Watch {
    answers: Receiver<Result<Sample, Error>>,
    _stop: Sender<()>,
}

impl Watch {
    pub(super) fn start(client: Client, interval: Duration) -> Result<Watch, CliError> {
        let (sender, answers) = bounded(1);
        let (stop, stopped) = bounded::<()>(0);
        let watch = move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                if sender.send(Sample::take(&client)).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new()
            .name("watch".to_owned())
            .spawn(watch)
            .map_err(CliError::failed)?;
        Ok(Watch {
            answers,
            _stop: stop,
        })
    }

    /// The next answer, if it has arrived.
    pub(super) fn answer(&self) -> Option<Result<Sample, Error>> {
        self.answers.try_recv().ok()
    }
}
