//! One tiny_http server: its private socket, its accept thread, its workers.
//!
//! Lives as long as somebody holds it: the supervisor while it is the current one, and each of its lanes.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use socket2::SockRef;

use super::super::deadline::Deadline;
use super::lane::{Lane, probe};
use super::rendezvous::Rendezvous;
use super::workers::{Duty, EndedWorkers, Workers};

/// Fields in the order of their end: the workers are told first, then tiny_http's accept thread.
pub(super) struct Backend {
    _workers: Workers,
    _listener: PrivateListener,
    rendezvous: Rendezvous,
    /// The connections of its lanes, so that an exchange under way can be cut off.
    connections: Mutex<Vec<Weak<UnixStream>>>,
    /// It opens no more lanes, or does not answer any more. Lanes that still work are used until there is another one.
    lost: Arc<AtomicBool>,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Backend").finish_non_exhaustive()
    }
}

/// Wakes tiny_http's accept thread when dropped: its own way to do so needs the name of the socket, which is gone.
struct PrivateListener(UnixListener);

impl Drop for PrivateListener {
    fn drop(&mut self) {
        let _ = SockRef::from(&self.0).shutdown(Shutdown::Both);
    }
}

impl Backend {
    /// tiny_http panics when the system has no thread for it; the caller catches that.
    pub(super) fn start(
        workers: usize,
        duty: &Duty,
        ended: &Arc<EndedWorkers>,
    ) -> io::Result<Backend> {
        let (rendezvous, listener) = Rendezvous::open()?;
        let private = PrivateListener(listener.try_clone()?);
        let server = tiny_http::Server::from_listener(listener, None).map_err(io::Error::other)?;
        let lost = Arc::default();
        Ok(Backend {
            _workers: Workers::start(server, workers, duty, &lost, ended)?,
            _listener: private,
            rendezvous,
            connections: Mutex::default(),
            lost,
        })
    }

    /// Connects, and waits until a worker has answered a probe. One at a time: tiny_http strands some of those that come
    /// together.
    pub(super) fn open_lane(self: &Arc<Self>, deadline: Deadline) -> io::Result<Lane> {
        let connection = Arc::new(self.rendezvous.connect()?);
        let mut connections = self.connections.lock();
        connections.retain(|connection| connection.strong_count() > 0);
        connections.push(Arc::downgrade(&connection));
        drop(connections);
        probe(&connection, deadline)?;
        Ok(Lane {
            connection,
            backend: Arc::clone(self),
        })
    }

    pub(super) fn mark_lost(&self) {
        self.lost.store(true, Ordering::Release);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Cuts off every exchange that is under way.
    pub(super) fn cut(&self) {
        let connections = self.connections.lock();
        for connection in connections.iter().filter_map(Weak::upgrade) {
            // Gone already if tiny_http went first.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}
