//! What all clients of a trial share: where the server is, what is true of each topic, and what went wrong.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use threadcast::config::OverflowPolicy;

use super::Plan;
use super::keys::Keys;
use super::message::MessageId;
use super::truth::Truth;

/// Violations kept as text; the rest is only counted.
const MOST_TEXTS: usize = 20;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) server: SocketAddr,
    pub(crate) plan: Plan,
    pub(crate) truths: Vec<Truth>,
    /// Where the server asks for any.
    pub(crate) keys: Option<Keys>,
    pub(crate) started: Instant,
    /// When the publishers stop.
    pub(crate) publish_until: Instant,
    /// The newest seq of each topic, once nothing is published any more.
    heads: OnceLock<Vec<u64>>,
    /// Messages whose publisher was closed before they were answered, and the newest seq of their topic then.
    unanswered: Mutex<HashMap<MessageId, u64>>,
    violations: AtomicU64,
    texts: Mutex<Vec<String>>,
}

impl World {
    pub(crate) fn new(server: SocketAddr, plan: &Plan, keys: Option<Keys>) -> World {
        World {
            server,
            plan: plan.clone(),
            truths: (0..plan.topics).map(|_| Truth::default()).collect(),
            keys,
            unanswered: Mutex::default(),
            started: Instant::now(),
            publish_until: Instant::now() + plan.duration,
            heads: OnceLock::new(),
            violations: AtomicU64::new(0),
            texts: Mutex::new(Vec::new()),
        }
    }

    /// The topics of the policy that comes `class`-th.
    pub(crate) fn topics_of_class(&self, class: usize) -> Vec<usize> {
        let classes = OverflowPolicy::ALL.len();
        let same = |topic: &usize| topic % classes == class % classes;
        (0..self.plan.topics).filter(same).collect()
    }

    /// Nothing is published any more: everyone reads to these heads.
    pub(crate) fn finish(&self, heads: Vec<u64>) {
        // It is said once.
        let _ = self.heads.set(heads);
    }

    pub(crate) fn heads(&self) -> Option<&[u64]> {
        self.heads.get().map(Vec::as_slice)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.heads.get().is_some()
    }

    /// The publisher of these messages was closed, and after that the newest seq of their topic was `head`.
    pub(crate) fn leave_unanswered(&self, ids: impl Iterator<Item = MessageId>, head: u64) {
        let unanswered = self.unanswered.lock();
        let mut unanswered = unanswered.unwrap_or_else(PoisonError::into_inner);
        unanswered.extend(ids.map(|id| (id, head)));
    }

    pub(crate) fn unanswered(&self) -> HashMap<MessageId, u64> {
        let unanswered = self.unanswered.lock();
        unanswered.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes a violation down.
    pub(crate) fn check(&self, who: &str, topic: usize, result: Result<(), String>) {
        if let Err(what) = result {
            self.violation(format!("{who}, topic {topic}: {what}"));
        }
    }

    pub(crate) fn violation(&self, text: String) {
        self.violations.fetch_add(1, Ordering::Relaxed);
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        if texts.len() < MOST_TEXTS {
            texts.push(text);
        }
    }

    /// How many violations there were, and the first of them.
    pub(crate) fn violations(&self) -> (u64, Vec<String>) {
        let texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        (self.violations.load(Ordering::Relaxed), texts.clone())
    }
}

/// The overflow policy of a topic.
pub(crate) fn policy_of(topic: usize) -> OverflowPolicy {
    OverflowPolicy::ALL[topic % OverflowPolicy::ALL.len()]
}
