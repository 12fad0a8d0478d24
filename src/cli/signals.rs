//! The signals that end the program: the first one asks, the second one does not wait. A hangup is none
//! of them. Never stops anything itself but the process.

use std::process;
use std::thread;

use crossbeam_channel::{Receiver, bounded, select};
use nix::sys::signal::{SigSet, Signal};
use tracing::info;

use super::failure::Failure;

/// What a shell reports for a program that was interrupted.
pub(super) const INTERRUPTED: i32 = 130;

/// Keeps SIGXFSZ from the process, which it would end: a write beyond the largest size that files may have (`ulimit -f`)
/// fails instead, like one to a full disk. Must run before any other thread is started.
pub(super) fn survive_file_limit() {
    // Without it that signal ends the process as ever.
    let _ = SigSet::from(Signal::SIGXFSZ).thread_block();
}

/// The signals, from the moment of [`Signals::install`].
pub(super) struct Signals {
    first: Receiver<()>,
    hangups: Receiver<()>,
}

impl Signals {
    /// Must run before any other thread is started: a thread inherits which signals it may not get, and
    /// the hangup is kept from all of them. ctrlc would take it for one more request to stop.
    pub(super) fn install() -> Result<Signals, Failure> {
        let hangup = SigSet::from(Signal::SIGHUP);
        hangup
            .thread_block()
            .map_err(|error| Failure::failed(format!("signals: {error}")))?;
        let (ask, first) = bounded(1);
        let mut asked = false;
        ctrlc::set_handler(move || {
            if asked {
                process::exit(INTERRUPTED);
            }
            asked = true;
            let _ = ask.try_send(());
        })
        .map_err(|error| Failure::failed(format!("signals: {error}")))?;
        let hangups = hangups(hangup)?;
        Ok(Signals { first, hangups })
    }

    /// Waits for the first signal, and runs `reload` on each hangup before it. The second signal ends the process,
    /// whatever it is doing.
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

/// For a command that is no server: calls `then` on each signal that ends a program, from a thread of its own. A hangup is
/// one of them.
pub(super) fn on_interrupt(then: impl FnMut() + Send + 'static) -> Result<(), Failure> {
    ctrlc::set_handler(then).map_err(|error| Failure::failed(format!("signals: {error}")))
}

/// Tells each hangup, from a thread that lives as long as the process. Those that come while one waits to be heard are
/// that one.
fn hangups(hangup: SigSet) -> Result<Receiver<()>, Failure> {
    let (tell, hangups) = bounded(1);
    let wait = move || {
        while hangup.wait().is_ok() {
            let _ = tell.try_send(());
        }
    };
    let spawned = thread::Builder::new().name("sighup".to_owned()).spawn(wait);
    spawned
        .map(|_| hangups)
        .map_err(|error| Failure::failed(format!("signals: {error}")))
}
