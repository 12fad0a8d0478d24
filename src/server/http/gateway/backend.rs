//! One tiny_http server: its private socket, its accept thread, its workers.
//!
//! Lives as long as it is referenced: by the supervisor while it is the current one, and by each of its connections.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use socket2::SockRef;

use super::super::deadline::Deadline;
use super::connection::{BackendConnection, probe};
use super::private_socket::PrivateSocket;
use super::workers::{EndedWorkers, WorkerContext, Workers};

/// The fields are dropped in this order: the workers end first, then tiny_http's accept thread.
pub(super) struct Backend {
    _workers: Workers,
    _listener: PrivateListener,
    socket: PrivateSocket,
    /// Its connections, so that the exchanges under way can be cancelled.
    connections: Mutex<Vec<Weak<UnixStream>>>,
    /// It accepts no more connections, or does not answer. Connections that still work are used until it is replaced.
    lost: Arc<AtomicBool>,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Backend").finish_non_exhaustive()
    }
}

/// Wakes tiny_http's accept thread when dropped. tiny_http itself would need the name of the socket, which is removed.
struct PrivateListener(UnixListener);

impl Drop for PrivateListener {
    fn drop(&mut self) {
        let _ = SockRef::from(&self.0).shutdown(Shutdown::Both);
    }
}

impl Backend {
    /// tiny_http panics when the system gives it no thread; the caller catches that.
    pub(super) fn start(
        workers: usize,
        context: &WorkerContext,
        ended: &Arc<EndedWorkers>,
    ) -> io::Result<Backend> {
        let (socket, listener) = PrivateSocket::open()?;
        let private = PrivateListener(listener.try_clone()?);
        let server = tiny_http::Server::from_listener(listener, None).map_err(io::Error::other)?;
        let lost = Arc::default();
        Ok(Backend {
            _workers: Workers::start(server, workers, context, &lost, ended)?,
            _listener: private,
            socket,
            connections: Mutex::default(),
            lost,
        })
    }

    /// Connects, and waits until a worker has answered a probe. The caller opens one at a time: tiny_http leaves some of
    /// those that arrive together without a thread.
    pub(super) fn open_connection(
        self: &Arc<Self>,
        deadline: Deadline,
    ) -> io::Result<BackendConnection> {
        let stream = Arc::new(self.socket.connect()?);
        let mut connections = self.connections.lock();
        connections.retain(|connection| connection.strong_count() > 0);
        connections.push(Arc::downgrade(&stream));
        drop(connections);
        probe(&stream, deadline)?;
        Ok(BackendConnection {
            stream,
            backend: Arc::clone(self),
        })
    }

    pub(super) fn mark_lost(&self) {
        self.lost.store(true, Ordering::Release);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Cancels every exchange that is under way.
    pub(super) fn cancel(&self) {
        let connections = self.connections.lock();
        for connection in connections.iter().filter_map(Weak::upgrade) {
            // Gone already if tiny_http went first.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}
