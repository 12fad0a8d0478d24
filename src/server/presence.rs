//! What is known of one connection while it lives, whatever is spoken on it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::access::{Guard, Principal};
use crate::sync::{AtomicBool, AtomicU64, Lock, Mutex, Ordering, mutex};

/// A connection as an administrator sees it. Its own threads write it, anyone reads it.
pub(crate) struct Presence {
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    opened: Instant,
    /// Milliseconds from the opening to the last time that anything came.
    heard_ms: AtomicU64,
    /// Who was let in last. Guards this alone, held for one copy.
    principal: Mutex<Option<Principal>>,
    /// It is to end: no request follows the one under way.
    closing: AtomicBool,
}

impl Presence {
    /// A connection that was opened just now.
    pub(crate) fn new(id: u64, peer: SocketAddr) -> Presence {
        Presence {
            id,
            peer,
            opened: Instant::now(),
            heard_ms: AtomicU64::new(0),
            principal: mutex(Lock::ConnectionInfo, None),
            closing: AtomicBool::new(false),
        }
    }

    /// Something came from the peer.
    pub(crate) fn heard(&self) {
        self.heard_ms
            .store(millis(self.opened.elapsed()), Ordering::Relaxed);
    }

    pub(crate) fn belongs_to(&self, principal: Principal) {
        *self.principal.lock() = Some(principal);
    }

    /// The name of the key that was presented last; none when the server asks for no key.
    pub(crate) fn key(&self) -> Option<String> {
        let principal = self.principal.lock();
        principal
            .as_ref()
            .and_then(Principal::name)
            .map(str::to_owned)
    }

    /// Whether who was let in last would be let in now.
    pub(crate) fn is_admitted_by(&self, guard: &Guard) -> bool {
        let principal = self.principal.lock().clone();
        principal.is_none_or(|principal| guard.still_admits(&principal))
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.opened.elapsed()
    }

    /// How long nothing has come.
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
