//! The accepting thread: accepts one connection after the other, also while the system is short of descriptors.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::libc::{EMFILE, ENFILE};

use super::connections::Connections;
use super::rejector::Rejection;
use super::serving::Serving;
use super::transport::Transport;
use crate::limited_log::{LimitedLog, limited};
use crate::sync::Arc;
use crate::sync::channel::{Receiver, RecvTimeoutError, Sender};

/// The wait after a failed accept; doubled up to the maximum.
const MIN_BACK_OFF: Duration = Duration::from_millis(5);
const MAX_BACK_OFF: Duration = Duration::from_secs(1);
/// Opened only to be closed when a descriptor is needed.
const SPARE: &str = "/dev/null";

pub(super) struct Acceptor {
    listener: Arc<TcpListener>,
    closing: Arc<AtomicBool>,
    woken: Receiver<()>,
    serving: Arc<Serving>,
    connections: Arc<Connections>,
    reject: Sender<Rejection>,
    /// A reserved descriptor. Closed to accept and reject a connection when no other descriptor is left.
    spare: Option<File>,
    failed_log: LimitedLog,
    no_descriptor_log: LimitedLog,
}

impl Acceptor {
    pub(super) fn new(
        listener: Arc<TcpListener>,
        closing: Arc<AtomicBool>,
        woken: Receiver<()>,
        serving: Arc<Serving>,
        connections: Arc<Connections>,
        reject: Sender<Rejection>,
    ) -> Acceptor {
        Acceptor {
            listener,
            closing,
            woken,
            serving,
            connections,
            reject,
            spare: File::open(SPARE).ok(),
            failed_log: LimitedLog::new("failed accepts"),
            no_descriptor_log: LimitedLog::new("connections refused for want of descriptors"),
        }
    }

    /// Accepts until the listener is closed.
    pub(super) fn run(mut self) {
        let mut back_off = MIN_BACK_OFF;
        while !self.closing.load(Ordering::SeqCst) {
            let panics = self.connections.panics.clone();
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

    /// Accepts the next connection, with the spare descriptor if there is no other.
    fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        match self.listener.accept() {
            Err(error) if is_out_of_descriptors(&error) && self.spare.take().is_some() => {
                self.listener.accept()
            }
            accepted => accepted,
        }
    }

    /// Admits a connection, or passes it to the rejector, as it does if there is no spare descriptor any more.
    fn receive(&mut self, socket: TcpStream, peer: SocketAddr) {
        if self.spare.is_none() {
            self.spare = File::open(SPARE).ok();
        }
        let transport = match self.serving.transport(socket) {
            Ok(transport) => transport,
            Err(error) => return tracing::error!(%error, "no TLS for a new connection"),
        };
        let rejected = match self.spare {
            Some(_) => self.admit(transport, peer),
            None => {
                limited!(
                    self.no_descriptor_log,
                    warn,
                    "out of file descriptors: connection refused",
                    %peer
                );
                self.connections.metrics.rejected.count("no_descriptor");
                Err(Rejection::full(transport))
            }
        };
        if let Err(rejection) = rejected {
            // The rejector never waits for a peer, so this thread waits for none either.
            let _ = self.reject.send(rejection);
        }
    }

    /// Serves a connection on a thread of its own. Returns the transport if there is no place for it.
    fn admit(&self, transport: Transport, peer: SocketAddr) -> Result<(), Rejection> {
        let (serving, connections) = (Arc::clone(&self.serving), Arc::clone(&self.connections));
        let place = match serving.edge.place_of_connection(peer.into()) {
            Ok(place) => place,
            Err(problem) => return Err(Rejection { transport, problem }),
        };
        self.connections
            .admit(transport, peer, move |info, transport| {
                let _place = place;
                let panics = &serving.edge.panics;
                panics.catch(|| serving.run(&info, &transport, &connections));
            })
            .map_err(Rejection::full)
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

/// Whether the error concerns only this connection.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
