//! The end before the end: a signal, or a check that failed. Everybody asks, nobody is interrupted.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::error::CliError;
use crate::cli::signals;

/// Shared by all threads of a measurement.
#[derive(Debug, Clone, Default)]
pub(super) struct Halt {
    called: Arc<AtomicBool>,
    signalled: Arc<AtomicBool>,
}

impl Halt {
    /// Listens to the signals that end the program. The second one does not wait for anything.
    pub(super) fn install() -> Result<Halt, CliError> {
        let halt = Halt::default();
        let its = halt.clone();
        signals::on_interrupt(move || {
            if its.signalled.swap(true, Ordering::SeqCst) {
                process::exit(signals::INTERRUPTED);
            }
            its.call();
        })?;
        Ok(halt)
    }

    /// Ends the measurement.
    pub(super) fn call(&self) {
        self.called.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_called(&self) -> bool {
        self.called.load(Ordering::SeqCst)
    }

    /// What was interrupted has no result.
    pub(super) fn outcome(&self) -> Result<(), CliError> {
        match self.signalled.load(Ordering::SeqCst) {
            true => Err(CliError::interrupted()),
            false => Ok(()),
        }
    }
}
