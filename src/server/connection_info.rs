//! The data of one open connection, HTTP or WebSocket, that `/connections` shows.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::client_address::ClientAddress;
use crate::access::{Guard, Principal};
use crate::protocol::UserName;
use crate::sync::{AtomicBool, AtomicU64, Lock, Mutex, Ordering, mutex};

/// Written by the connection's own threads, read by any.
pub(crate) struct ConnectionInfo {
    pub(crate) id: u64,
    peer: SocketAddr,
    /// Behind trusted proxies, the client of the last request. The lock is held for one copy.
    client: Mutex<ClientAddress>,
    opened: Instant,
    /// Milliseconds from the opening to the last received bytes.
    heard_ms: AtomicU64,
    /// Who made the last authorized request, or whose token a WebSocket presented last. The lock guards only this, and is held for one copy.
    principal: Mutex<Option<Principal>>,
    /// Set when the request under way is the last.
    closing: AtomicBool,
}

impl ConnectionInfo {
    /// For a connection that was opened just now.
    pub(crate) fn new(id: u64, peer: SocketAddr) -> ConnectionInfo {
        ConnectionInfo {
            id,
            peer,
            client: mutex(Lock::ConnectionInfo, peer.into()),
            opened: Instant::now(),
            heard_ms: AtomicU64::new(0),
            principal: mutex(Lock::ConnectionInfo, None),
            closing: AtomicBool::new(false),
        }
    }

    /// Who opened the connection: a client, or a proxy.
    pub(crate) fn peer(&self) -> ClientAddress {
        self.peer.into()
    }

    /// Who is served: the peer, or the client that a trusted proxy names.
    pub(crate) fn client(&self) -> ClientAddress {
        *self.client.lock()
    }

    /// Notes whom a trusted proxy names.
    pub(crate) fn serves(&self, client: ClientAddress) {
        *self.client.lock() = client;
    }

    /// Notes that the peer sent something.
    pub(crate) fn heard(&self) {
        self.heard_ms
            .store(millis(self.opened.elapsed()), Ordering::Relaxed);
    }

    pub(crate) fn belongs_to(&self, principal: Principal) {
        *self.principal.lock() = Some(principal);
    }

    /// The name of the key that was presented last; `None` when the server needs no key, and for a token.
    pub(crate) fn key(&self) -> Option<String> {
        self.of_principal(|principal| principal.key_name().map(str::to_owned))
    }

    /// The user of the token that was presented last, if it names one.
    pub(crate) fn user(&self) -> Option<UserName> {
        self.of_principal(|principal| principal.user().cloned())
    }

    /// Who made the last request that needs a right; `None` where everyone may do everything.
    pub(crate) fn principal(&self) -> Option<Principal> {
        self.of_principal(|principal| Some(principal.clone()))
    }

    fn of_principal<T>(&self, get: impl FnOnce(&Principal) -> Option<T>) -> Option<T> {
        self.principal.lock().as_ref().and_then(get)
    }

    /// Whether what was presented last is still valid.
    pub(crate) fn is_admitted_by(&self, guard: &Guard) -> bool {
        self.principal()
            .is_none_or(|principal| guard.still_admits(&principal))
    }

    /// When it was accepted.
    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.opened.elapsed()
    }

    /// How long the peer has sent nothing.
    pub(crate) fn idle(&self) -> Duration {
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(heard)
    }

    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
