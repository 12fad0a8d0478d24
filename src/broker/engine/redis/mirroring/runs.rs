//! The runs of a Redis. A run ends when Redis restarts, or when a replica takes over.
//!
//! A topic's record names the runs that numbered its events, each with the seq before its first one. So a node that was away
//! can tell that a run went on without events that it knows, even when everything since then was trimmed.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::sync::Arc;

/// Runs that are remembered.
const MAX_KNOWN: usize = 64;
/// Characters of the replication id that name a run.
const NAME_LEN: usize = 16;

#[derive(Default)]
pub(crate) struct Runs {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Arc<str>,
    /// The runs in which this node was up to date.
    known: VecDeque<Arc<str>>,
}

impl Runs {
    /// Notes the run of a new connection, by the replication id of Redis.
    pub(crate) fn connected(&self, replication_id: &str) {
        self.state.lock().current = name(replication_id).into();
    }

    /// Whether a connection leads to the run of the connection before.
    pub(crate) fn is_current(&self, replication_id: &str) -> bool {
        *self.state.lock().current == *name(replication_id)
    }

    /// The mirrors of this node were compared with what the current run has.
    pub(crate) fn is_up_to_date(&self) {
        let mut state = self.state.lock();
        if !state.known.contains(&state.current) {
            let current = Arc::clone(&state.current);
            state.known.push_back(current);
        }
        if state.known.len() > MAX_KNOWN {
            state.known.pop_front();
        }
    }

    pub(crate) fn current(&self) -> Arc<str> {
        Arc::clone(&self.state.lock().current)
    }

    /// Whether a run that is new to this node has numbered events from before this seq, which this node has, too.
    pub(crate) fn contradict(&self, runs_of_topic: &str, seq: u64) -> bool {
        let state = self.state.lock();
        let mut runs = runs_of_topic.split(',').filter_map(|run| {
            let (name, before) = run.split_once(':')?;
            Some((name, before.parse::<u64>().ok()?))
        });
        runs.any(|(name, before)| before < seq && !state.known.iter().any(|known| **known == *name))
    }
}

fn name(replication_id: &str) -> &str {
    replication_id.get(..NAME_LEN).unwrap_or(replication_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_run_that_began_before_a_known_event_contradicts() {
        let runs = Runs::default();
        runs.connected("aaaaaaaaaaaaaaaa-and-more");
        runs.is_up_to_date();
        runs.connected("cccccccccccccccc");
        let of_topic = "aaaaaaaaaaaaaaaa:0,bbbbbbbbbbbbbbbb:20,cccccccccccccccc:90";
        assert!(runs.contradict(of_topic, 25));
        assert!(!runs.contradict(of_topic, 20), "all of it is there");
        assert!(!runs.contradict("aaaaaaaaaaaaaaaa:0", 25), "nothing new");
        assert!(!runs.contradict("-", 25), "nobody says so");
        runs.is_up_to_date();
        assert!(!runs.contradict("cccccccccccccccc:20", 25), "seen before");
    }
}
