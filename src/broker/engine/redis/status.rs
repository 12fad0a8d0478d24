//! Whether a Redis can be used, and if not, why: as one line for people, in the log and in `/health`.

use parking_lot::Mutex;

use super::changes::Changes;
use crate::broker::engine::redis::connection::failure;
use crate::sync::{Arc, AtomicBool, Ordering};

/// Whether a Redis can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Down,
    /// It takes nothing new, and does everything else.
    Full,
    Up,
}

pub(super) struct Status {
    /// The number of the Redis among all.
    at: usize,
    is_up: AtomicBool,
    /// At the last heartbeat Redis was full.
    is_full: AtomicBool,
    /// Why it is down, each reason since it was up once, the present one last.
    reasons: Mutex<Vec<String>>,
    /// What is wrong with its settings.
    warning: Mutex<Option<String>>,
    changes: Arc<Changes>,
}

impl Status {
    pub(super) fn new(at: usize, changes: Arc<Changes>) -> Status {
        Status {
            at,
            is_up: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            reasons: Mutex::default(),
            warning: Mutex::default(),
            changes,
        }
    }

    pub(super) fn state(&self) -> State {
        match self.is_up.load(Ordering::Acquire) {
            true if self.is_full() => State::Full,
            true => State::Up,
            false => State::Down,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    /// Notes whether Redis is full; a change is logged.
    pub(super) fn set_full(&self, is_full: bool) {
        let was_full = self.is_full.swap(is_full, Ordering::AcqRel);
        match (was_full, is_full) {
            (false, true) => {
                let reason = failure::IS_FULL;
                tracing::error!(redis = self.at, reason, "Redis takes nothing new");
            }
            (true, false) => {
                self.changes.notify();
                tracing::info!(redis = self.at, "Redis has room again");
            }
            _ => {}
        }
    }

    pub(super) fn up(&self) {
        self.is_up.store(true, Ordering::Release);
        self.reasons.lock().clear();
        self.changes.notify();
        tracing::info!(redis = self.at, "Redis is up");
    }

    /// Notes that it cannot be used; logged once for each reason.
    pub(super) fn down(&self, reason: &str) {
        self.disconnected();
        let mut known = self.reasons.lock();
        let before = known.len();
        known.retain(|known| known != reason);
        if known.len() == before {
            tracing::error!(
                redis = self.at,
                reason,
                "Redis cannot be used; trying again"
            );
        }
        known.push(reason.to_owned());
    }

    /// Notes that nothing can be asked now.
    pub(super) fn disconnected(&self) {
        self.is_up.store(false, Ordering::Release);
    }

    /// Notes what is wrong with its settings; logged once.
    pub(super) fn warn(&self, warning: Option<String>) {
        let mut known = self.warning.lock();
        if let Some(warning) = warning.as_ref().filter(|_| *known != warning) {
            tracing::error!(redis = self.at, warning, "Redis is not set up for this");
        }
        *known = warning;
    }

    /// Why it cannot be used, or what is wrong with its settings.
    pub(super) fn problem(&self) -> Option<String> {
        let reason = self.reasons.lock().last().cloned();
        let full = || self.is_full().then(|| failure::IS_FULL.to_owned());
        reason.or_else(full).or_else(|| self.warning.lock().clone())
    }
}
