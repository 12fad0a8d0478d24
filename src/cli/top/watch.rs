//! The thread that asks the server, so that keys are heeded while an answer is awaited.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use threadcast::client::{Client, Error};

use super::sample::Sample;
use crate::cli::failure::Failure;

/// Asks again and again, until it is dropped. The thread is not awaited then: an answer may take its time, and the
/// program is about to end.
#[derive(Debug)]
pub(super) struct Watch {
    answers: Receiver<Result<Sample, Error>>,
    _stop: Sender<()>,
}

impl Watch {
    pub(super) fn start(client: Client, interval: Duration) -> Result<Watch, Failure> {
        let (tell, answers) = bounded(1);
        let (stop, stopped) = bounded::<()>(0);
        let watch = move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                if tell.send(Sample::take(&client)).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new()
            .name("watch".to_owned())
            .spawn(watch)
            .map_err(Failure::failed)?;
        Ok(Watch {
            answers,
            _stop: stop,
        })
    }

    /// An answer that has come since.
    pub(super) fn answer(&self) -> Option<Result<Sample, Error>> {
        self.answers.try_recv().ok()
    }
}
