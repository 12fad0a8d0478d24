//! Cancels a measurement: after a signal or a failed check. Every thread asks whether it is to go on.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::error::CliError;
use crate::cli::signals;

/// Shared by all threads of a measurement.
#[derive(Debug, Clone, Default)]
pub(super) struct Cancel {
    cancelled: Arc<AtomicBool>,
    interrupted: Arc<AtomicBool>,
}

impl Cancel {
    /// Cancels on the first signal that ends a program. The second one ends the process at once.
    pub(super) fn on_signal() -> Result<Cancel, CliError> {
        let cancel = Cancel::default();
        let of_handler = cancel.clone();
        signals::on_interrupt(move || {
            if of_handler.interrupted.swap(true, Ordering::SeqCst) {
                process::exit(signals::INTERRUPTED);
            }
            of_handler.cancel();
        })?;
        Ok(cancel)
    }

    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// Passes a result on. An error of one thread cancels the work of all.
    pub(super) fn on_error<T, E>(&self, result: Result<T, E>) -> Result<T, E> {
        if result.is_err() {
            self.cancel();
        }
        result
    }

    /// Fails after a signal: an interrupted measurement has no figures.
    pub(super) fn check_signal(&self) -> Result<(), CliError> {
        match self.interrupted.load(Ordering::SeqCst) {
            true => Err(CliError::interrupted()),
            false => Ok(()),
        }
    }
}
