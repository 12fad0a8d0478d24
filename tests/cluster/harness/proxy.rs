//! A TCP proxy between a node and Redis that a test makes fail: cut, silent, slow, or led to another Redis.

mod pump;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

use super::{free_port, within};
use pump::pump;

const ACCEPT_INTERVAL: Duration = Duration::from_millis(3);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Small, so that a sender soon notices a link that is slow or silent.
const RECEIVE_BUFFER_BYTES: usize = 64 << 10;
const CHANGE_LIMIT: Duration = Duration::from_secs(5);

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    ToRedis,
    FromRedis,
}

/// Both directions.
pub(crate) const BOTH: [Way; 2] = [Way::ToRedis, Way::FromRedis];

/// How bytes travel in one direction.
#[derive(Debug, Clone, Copy, Default)]
struct Flow {
    /// Nothing is forwarded, nor is the end of a connection.
    held: bool,
    delay: Duration,
    bytes_per_sec: Option<usize>,
}

/// A proxy on a port of its own; ended when dropped.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    port: u16,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    upstream: SocketAddr,
    flows: [Flow; 2],
    /// Whether it is to listen, and whether it does.
    open: bool,
    listening: bool,
    ended: bool,
    connections: Vec<Connection>,
    pumps: Vec<JoinHandle<()>>,
    accepted: u64,
    /// Nothing is forwarded of connections up to this number.
    frozen: u64,
}

struct Connection {
    number: u64,
    streams: [TcpStream; 2],
}

impl Proxy {
    /// Leads to `upstream`, without any fault.
    pub(crate) fn to(upstream: SocketAddr) -> Proxy {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::to(upstream)),
            changed: Condvar::new(),
        });
        let port = free_port();
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.accept_all(port))
        };
        let acceptor = Some(acceptor);
        let proxy = Proxy {
            shared,
            port,
            acceptor,
        };
        proxy.await_listening(true);
        proxy
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Ends every connection and refuses new ones.
    pub(crate) fn cut(&self) {
        self.shared.lock().open = false;
        self.drop_connections();
        self.await_listening(false);
        self.drop_connections();
    }

    /// Ends every connection; new ones are accepted.
    pub(crate) fn drop_connections(&self) {
        for connection in self.shared.lock().connections.drain(..) {
            connection.end();
        }
        self.shared.changed.notify_all();
    }

    /// Keeps every connection, and new ones, but forwards nothing in this direction: the bytes arrive when it heals.
    pub(crate) fn hold(&self, ways: &[Way]) {
        self.change(ways, |flow| flow.held = true);
    }

    /// Keeps the first connections that were opened, so many, but forwards nothing of them any more, as if a router had forgotten
    /// them. New ones work.
    pub(crate) fn freeze_first(&self, count: u64) {
        self.shared.lock().frozen = count;
    }

    /// Forwards each byte this much later.
    pub(crate) fn delay(&self, ways: &[Way], delay: Duration) {
        self.change(ways, |flow| flow.delay = delay);
    }

    /// Forwards at most this many bytes a second.
    pub(crate) fn throttle(&self, ways: &[Way], bytes_per_sec: usize) {
        self.change(ways, |flow| flow.bytes_per_sec = Some(bytes_per_sec));
    }

    /// Ends every fault.
    pub(crate) fn heal(&self) {
        self.change(&BOTH, |flow| *flow = Flow::default());
        self.shared.lock().open = true;
        self.await_listening(true);
    }

    /// Leads new connections to `upstream`; those that are open stay where they are.
    pub(crate) fn lead_to(&self, upstream: SocketAddr) {
        self.shared.lock().upstream = upstream;
    }

    /// How many connections are open.
    pub(crate) fn connections(&self) -> usize {
        self.shared.lock().connections.len()
    }

    fn change(&self, ways: &[Way], change: impl Fn(&mut Flow)) {
        let mut state = self.shared.lock();
        for way in ways {
            change(&mut state.flows[*way as usize]);
        }
        self.shared.changed.notify_all();
    }

    fn await_listening(&self, listening: bool) {
        within(CHANGE_LIMIT, "the proxy opens or closes its port", || {
            self.shared.lock().listening == listening
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        if let Some(acceptor) = self.acceptor.take() {
            let _panicked = acceptor.join();
        }
        self.drop_connections();
        let pumps = std::mem::take(&mut self.shared.lock().pumps);
        for pump in pumps {
            let _panicked = pump.join();
        }
    }
}

impl State {
    fn to(upstream: SocketAddr) -> State {
        State {
            upstream,
            flows: [Flow::default(); 2],
            open: true,
            listening: false,
            ended: false,
            connections: Vec::new(),
            pumps: Vec::new(),
            accepted: 0,
            frozen: 0,
        }
    }

    fn has(&self, connection: u64) -> bool {
        self.connections
            .iter()
            .any(|known| known.number == connection)
    }
}

impl Connection {
    fn end(&self) {
        for stream in &self.streams {
            let _already = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept_all(self: &Arc<Shared>, port: u16) {
        let mut listener = None;
        loop {
            let (ended, open) = {
                let state = self.lock();
                (state.ended, state.open)
            };
            if ended {
                return;
            }
            if !open {
                listener = None;
            } else if listener.is_none() {
                listener = listen(port);
            }
            self.lock().listening = listener.is_some();
            match listener.as_ref().map(TcpListener::accept) {
                Some(Ok((stream, _))) => self.join(&stream),
                _ => thread::park_timeout(ACCEPT_INTERVAL),
            }
        }
    }

    /// Joins a node's connection with one to Redis; drops it if Redis cannot be reached.
    fn join(self: &Arc<Shared>, node: &TcpStream) {
        let upstream = self.lock().upstream;
        let Ok(redis) = TcpStream::connect_timeout(&upstream, CONNECT_TIMEOUT) else {
            return;
        };
        let joined = self.register(node, &redis);
        let Ok(number) = joined else { return };
        let pumps = [(Way::ToRedis, node, &redis), (Way::FromRedis, &redis, node)];
        for (way, from, to) in pumps {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else {
                return;
            };
            let threads = pump(self, number, way, from, to);
            self.lock().pumps.extend(threads);
        }
    }

    fn register(&self, node: &TcpStream, redis: &TcpStream) -> std::io::Result<u64> {
        for stream in [node, redis] {
            stream.set_nonblocking(false)?;
            stream.set_nodelay(true)?;
            SockRef::from(stream).set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        }
        let streams = [node.try_clone()?, redis.try_clone()?];
        let mut state = self.lock();
        if !state.open {
            return Err(ErrorKind::ConnectionReset.into());
        }
        state.accepted += 1;
        let number = state.accepted;
        state.connections.push(Connection { number, streams });
        Ok(number)
    }
}

fn listen(port: u16) -> Option<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    listener.set_nonblocking(true).ok()?;
    Some(listener)
}
