//! Every connection of the server: admitted under the cap, known while it lives, its thread joined when it ends.

mod listing;

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Instant;

use super::connection_info::ConnectionInfo;
use super::machine;
use super::panics::Panics;
use super::transport::Transport;
use super::websocket::{Connection, EndReason};
use crate::limited_log::{LimitedLog, limited};
use crate::metrics::SharedMetrics;
use crate::sync::channel::{Receiver, Sender, unbounded};
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Condvar, Lock, Mutex, Ordering, mutex};

/// A connection's thread parses heads and JSON; nothing on it recurses.
const CONNECTION_STACK_BYTES: usize = 256 << 10;

pub(crate) struct Connections {
    cap: usize,
    open: Arc<AtomicUsize>,
    next_id: AtomicU64,
    /// Guards the list, which is by id. Held while a thread is started, so that none can end before it is listed.
    live: Mutex<BTreeMap<u64, Live>>,
    /// No connection becomes a WebSocket any more. Written under the lock of the list.
    closed: AtomicBool,
    /// A connection left the list.
    left: Condvar,
    ended: Sender<Ended>,
    pub(super) panics: Panics,
    pub(super) metrics: SharedMetrics,
    no_thread_log: LimitedLog,
    closed_log: LimitedLog,
}

struct Live {
    info: Arc<ConnectionInfo>,
    transport: Transport,
    websocket: Option<Arc<Connection>>,
    thread: JoinHandle<()>,
}

/// What the reaper is told.
enum Ended {
    Connection(u64),
    AllOver,
}

/// Says that a connection's thread is at its end, also when it panics.
struct NotifyOnDrop {
    id: u64,
    ended: Sender<Ended>,
}

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        let _ = self.ended.send(Ended::Connection(self.id));
    }
}

/// The thread that joins the threads of ended connections.
pub(crate) struct Reaper {
    connections: Arc<Connections>,
    thread: JoinHandle<()>,
}

impl Connections {
    /// An empty list, and the reaper that keeps it in order.
    pub(crate) fn start(
        cap: usize,
        panics: Panics,
        metrics: SharedMetrics,
    ) -> io::Result<(Arc<Connections>, Reaper)> {
        let (sender, receiver) = unbounded();
        let connections = Arc::new(Connections {
            cap,
            open: Arc::default(),
            next_id: AtomicU64::new(1),
            live: mutex(Lock::Connections, BTreeMap::new()),
            closed: AtomicBool::new(false),
            left: Condvar::new(),
            ended: sender,
            panics,
            metrics,
            no_thread_log: LimitedLog::new("connections refused for want of a thread"),
            closed_log: LimitedLog::new("connections closed by an administrator"),
        });
        let thread = thread::Builder::new().name("reaper".to_owned()).spawn({
            let connections = Arc::clone(&connections);
            move || connections.reap(&receiver)
        })?;
        Ok((
            Arc::clone(&connections),
            Reaper {
                connections,
                thread,
            },
        ))
    }

    /// How many there may be at once.
    pub(crate) fn cap(&self) -> usize {
        self.cap
    }

    /// The count of open connections, for observers.
    pub(crate) fn open_count(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.open)
    }

    /// Runs `serve` for a new connection on a thread of its own. Returns the transport when the server is full, or
    /// cannot start a thread.
    pub(crate) fn admit(
        &self,
        transport: Transport,
        peer: SocketAddr,
        serve: impl FnOnce(Arc<ConnectionInfo>, Transport) + Send + 'static,
    ) -> Result<(), Transport> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.cap {
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.metrics.rejected.count("full");
            return Err(transport);
        }
        if !machine::has_room_for_a_thread() {
            self.open.fetch_sub(1, Ordering::Relaxed);
            limited!(self.no_thread_log, warn, "no memory for a new connection's thread", %peer);
            self.metrics.rejected.count("no_thread");
            return Err(transport);
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let notify_on_drop = NotifyOnDrop {
            id,
            ended: self.ended.clone(),
        };
        let info = Arc::new(ConnectionInfo::new(id, peer));
        let (own_info, own_transport) = (Arc::clone(&info), transport.clone());
        let mut live = self.live.lock();
        let spawned = thread::Builder::new()
            .name(format!("conn-{id}"))
            .stack_size(CONNECTION_STACK_BYTES)
            .spawn(move || {
                let _notify_on_drop = notify_on_drop;
                serve(own_info, own_transport);
            });
        match spawned {
            Ok(thread) => {
                live.insert(
                    id,
                    Live {
                        info,
                        transport,
                        websocket: None,
                        thread,
                    },
                );
                self.metrics.accepted();
                Ok(())
            }
            Err(error) => {
                limited!(self.no_thread_log, warn, "no thread for a new connection", %error);
                self.metrics.rejected.count("no_thread");
                Err(transport)
            }
        }
    }

    /// A connection becomes a WebSocket; `false` if it is too late for that, or an administrator has closed it.
    pub(crate) fn upgrade(&self, connection: &Arc<Connection>) -> bool {
        let mut live = self.live.lock();
        if self.closed.load(Ordering::Relaxed) {
            return false;
        }
        let Some(live) = live.get_mut(&connection.info.id) else {
            return false;
        };
        if live.info.is_closing() {
            return false;
        }
        live.websocket = Some(Arc::clone(connection));
        true
    }

    /// Every WebSocket there is, and will be.
    pub(crate) fn last_websockets(&self) -> Vec<Arc<Connection>> {
        let live = self.live.lock();
        self.closed.store(true, Ordering::Relaxed);
        drop(live);
        self.websockets()
    }

    pub(crate) fn websockets(&self) -> Vec<Arc<Connection>> {
        self.live
            .lock()
            .values()
            .filter_map(|live| live.websocket.clone())
            .collect()
    }

    /// Waits until no WebSocket is left; `false` if the deadline came first.
    pub(crate) fn wait_for_websockets(&self, deadline: Instant) -> bool {
        self.wait_while(deadline, |live| {
            live.values().any(|live| live.websocket.is_some())
        })
    }

    /// Waits until no connection is left; `false` if the deadline came first.
    pub(crate) fn wait_for_all(&self, deadline: Instant) -> bool {
        self.wait_while(deadline, |live| !live.is_empty())
    }

    /// Gives up every WebSocket that is left.
    pub(crate) fn abort_websockets(&self) {
        for websocket in self.websockets() {
            websocket.abort(EndReason::Shutdown);
        }
    }

    /// Shuts every socket down: for reading, so that answers under way are still sent, or wholly.
    pub(crate) fn shut_down(&self, how: Shutdown) {
        for live in self.live.lock().values() {
            live.transport.shutdown(how);
        }
    }

    fn wait_while(&self, deadline: Instant, busy: impl Fn(&BTreeMap<u64, Live>) -> bool) -> bool {
        let mut live = self.live.lock();
        while busy(&live) {
            if self.left.wait_until(&mut live, deadline).timed_out() {
                return !busy(&live);
            }
        }
        true
    }

    fn reap(&self, ended: &Receiver<Ended>) {
        for event in ended {
            let Ended::Connection(id) = event else { return };
            // Not listed: its thread could not be started.
            let live = self.live.lock().remove(&id);
            self.panics.catch(|| live.map(|live| self.join(id, live)));
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.left.notify_all();
        }
    }

    fn join(&self, id: u64, live: Live) {
        if live.thread.join().is_err() {
            self.panics.note();
        }
        drop((live.transport, live.websocket));
        tracing::trace!(connection = id, "connection removed");
    }
}

impl Reaper {
    /// Ends the reaper; the connections must have ended before.
    pub(crate) fn join(self) {
        let _ = self.connections.ended.send(Ended::AllOver);
        let _ = self.thread.join();
    }
}
