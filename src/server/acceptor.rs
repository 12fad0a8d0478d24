//! The accepting thread: takes one connection after the other, and goes on when the system runs short.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::libc::{EMFILE, ENFILE};

use super::panics::Panics;
use crate::limited_log::{LimitedLog, limited};
use crate::metrics::SharedMetrics;
use crate::sync::Arc;
use crate::sync::channel::{Receiver, RecvTimeoutError, Sender};

/// How long the door waits after a failed accept; doubled up to the second.
const MIN_BACK_OFF: Duration = Duration::from_millis(5);
const MAX_BACK_OFF: Duration = Duration::from_secs(1);
/// What is opened only to be closed when a descriptor is wanted.
const SPARE: &str = "/dev/null";

/// Takes a connection in, or gives it back to be refused.
pub(super) type Admit = dyn Fn(TcpStream, SocketAddr) -> Result<(), Arc<TcpStream>> + Send;

pub(super) struct Acceptor {
    listener: Arc<TcpListener>,
    closing: Arc<AtomicBool>,
    woken: Receiver<()>,
    admit: Box<Admit>,
    refuse: Sender<Arc<TcpStream>>,
    /// A descriptor kept for the day when there is none left: with it a connection can still be told so.
    spare: Option<File>,
    panics: Panics,
    metrics: SharedMetrics,
    failed_log: LimitedLog,
    no_descriptor_log: LimitedLog,
}

impl Acceptor {
    pub(super) fn new(
        listener: Arc<TcpListener>,
        closing: Arc<AtomicBool>,
        woken: Receiver<()>,
        admit: Box<Admit>,
        refuse: Sender<Arc<TcpStream>>,
        panics: Panics,
        metrics: SharedMetrics,
    ) -> Acceptor {
        Acceptor {
            listener,
            closing,
            woken,
            admit,
            refuse,
            spare: File::open(SPARE).ok(),
            panics,
            metrics,
            failed_log: LimitedLog::new("failed accepts"),
            no_descriptor_log: LimitedLog::new("connections refused for want of descriptors"),
        }
    }

    /// Accepts until the door closes.
    pub(super) fn run(mut self) {
        let mut back_off = MIN_BACK_OFF;
        while !self.closing.load(Ordering::SeqCst) {
            let panics = self.panics.clone();
            match panics.catch(|| self.accept_one()) {
                Some(Ok(())) => back_off = MIN_BACK_OFF,
                Some(Err(error)) if is_of_one_connection(&error) => {}
                _ if self.closing.load(Ordering::SeqCst) => return,
                failed => {
                    if let Some(Err(error)) = failed {
                        let back_off_ms = back_off.as_millis() as u64;
                        limited!(self.failed_log, warn, "cannot accept", %error, back_off_ms);
                    }
                    if self.woken.recv_timeout(back_off) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                    back_off = (back_off * 2).min(MAX_BACK_OFF);
                }
            }
        }
    }

    fn accept_one(&mut self) -> io::Result<()> {
        let (socket, peer) = self.accept()?;
        tracing::trace!(%peer, "accepted");
        self.receive(socket, peer);
        Ok(())
    }

    /// The next connection, if need be at the cost of the spare descriptor.
    fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        match self.listener.accept() {
            Err(error) if is_out_of_descriptors(&error) && self.spare.take().is_some() => {
                self.listener.accept()
            }
            accepted => accepted,
        }
    }

    /// Admits a connection, unless it stands on the last descriptor there is.
    fn receive(&mut self, socket: TcpStream, peer: SocketAddr) {
        if self.spare.is_none() {
            self.spare = File::open(SPARE).ok();
        }
        let refused = match self.spare {
            Some(_) => (self.admit)(socket, peer),
            None => {
                limited!(
                    self.no_descriptor_log,
                    warn,
                    "out of file descriptors: connection refused",
                    %peer
                );
                self.metrics.rejected.count("no_descriptor");
                Err(Arc::new(socket))
            }
        };
        if let Err(socket) = refused {
            // The refuser never waits for a peer, so neither does the door.
            let _ = self.refuse.send(socket);
        }
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

/// An error that says nothing about the next connection.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
