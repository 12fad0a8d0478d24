//! Signals. The first signal requests a shutdown, the second one exits at once; SIGHUP requests a reload. This module itself
//! only ever ends the process.

use std::process;
use std::thread;

use crossbeam_channel::{Receiver, bounded, select};
use nix::sys::signal::{SigSet, Signal};
use tracing::info;

use super::error::CliError;

/// The exit code of shells for an interrupted program.
pub(super) const INTERRUPTED: i32 = 130;

/// Blocks SIGXFSZ, which would end the process: a write beyond the file size limit (`ulimit -f`) then fails, as on a full
/// disk. Call before starting any other thread.
pub(super) fn block_file_size_signal() {
    // On an error, the signal keeps its default action.
    let _ = SigSet::from(Signal::SIGXFSZ).thread_block();
}

/// The signals received since [`Signals::install`].
pub(super) struct Signals {
    first: Receiver<()>,
    hangups: Receiver<()>,
}

impl Signals {
    /// Call before starting any other thread: threads inherit the signal mask, and SIGHUP must be blocked in all of them, since
    /// ctrlc treats it as a request to stop.
    pub(super) fn install() -> Result<Signals, CliError> {
        let hangup = SigSet::from(Signal::SIGHUP);
        hangup
            .thread_block()
            .map_err(|error| CliError::failed(format!("signals: {error}")))?;
        let (sender, first) = bounded(1);
        let mut is_second = false;
        ctrlc::set_handler(move || {
            if is_second {
                process::exit(INTERRUPTED);
            }
            is_second = true;
            let _ = sender.try_send(());
        })
        .map_err(|error| CliError::failed(format!("signals: {error}")))?;
        let hangups = hangups(hangup)?;
        Ok(Signals { first, hangups })
    }

    /// Waits for the first signal; calls `reload` on each SIGHUP before it. A second signal ends the process at any time.
    pub(super) fn wait(&self, reload: impl Fn()) {
        loop {
            select! {
                recv(self.first) -> _ => return,
                recv(self.hangups) -> _ => {
                    info!("SIGHUP");
                    reload();
                }
            }
        }
    }
}

/// For client commands: calls `handler` on each SIGINT, SIGTERM and SIGHUP, on a thread of its own.
pub(super) fn on_interrupt(handler: impl FnMut() + Send + 'static) -> Result<(), CliError> {
    ctrlc::set_handler(handler).map_err(|error| CliError::failed(format!("signals: {error}")))
}

/// Receives SIGHUP on a thread that lives as long as the process. Signals that arrive before the previous one is handled are
/// merged with it.
fn hangups(hangup: SigSet) -> Result<Receiver<()>, CliError> {
    let (sender, hangups) = bounded(1);
    let wait = move || {
        while hangup.wait().is_ok() {
            let _ = sender.try_send(());
        }
    };
    let spawned = thread::Builder::new().name("sighup".to_owned()).spawn(wait);
    spawned
        .map(|_| hangups)
        .map_err(|error| CliError::failed(format!("signals: {error}")))
}
