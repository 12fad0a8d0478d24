//! When the keys at a URL are fetched: at the start, every 10 minutes, and when a token names an unknown key.
//!
//! The thread `jwks` fetches. Others ask it for that, and may wait. Knows no network.

use std::time::{Duration, Instant};

use crate::sync::{Condvar, Lock, Mutex, mutex};

/// From one fetch to the next.
const INTERVAL: Duration = Duration::from_secs(600);
/// From a fetch that failed to the next.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);
/// From one fetch for an unknown key to the next one.
const ASK_INTERVAL: Duration = Duration::from_secs(30);

/// The result of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Fetched,
    Failed,
}

pub(crate) struct Refresh {
    /// Held only to look and to change; nothing is fetched and no other lock is taken under it.
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// A fetch is under way, or about to begin.
    is_fetching: bool,
    /// How many have ended.
    fetches: u64,
    last_asked: Option<Instant>,
    is_stopped: bool,
}

impl Default for Refresh {
    /// About to fetch for the first time.
    fn default() -> Refresh {
        let state = State {
            is_fetching: true,
            fetches: 0,
            last_asked: None,
            is_stopped: false,
        };
        Refresh {
            state: mutex(Lock::TokenRefresh, state),
            changed: Condvar::new(),
        }
    }
}

impl Refresh {
    /// Asks for a fetch and waits for its end. Returns `false` at once if there was one for an unknown key too recently, and
    /// after `at_most` if it takes longer.
    pub(crate) fn wait(&self, at_most: Duration) -> bool {
        let deadline = Instant::now() + at_most;
        let mut state = self.state.lock();
        if !state.is_fetching {
            let is_recent = |asked: Instant| asked.elapsed() < ASK_INTERVAL;
            if state.is_stopped || state.last_asked.is_some_and(is_recent) {
                return false;
            }
            state.last_asked = Some(Instant::now());
            state.is_fetching = true;
            self.changed.notify_all();
        }
        let before = state.fetches;
        while state.fetches == before && !state.is_stopped {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        state.fetches > before
    }

    /// Fetches whenever it is time, until [`Refresh::stop`].
    pub(crate) fn run(&self, fetch: impl Fn() -> Outcome) {
        loop {
            let interval = match fetch() {
                Outcome::Fetched => INTERVAL,
                Outcome::Failed => RETRY_INTERVAL,
            };
            let next = Instant::now() + interval;
            let mut state = self.state.lock();
            state.is_fetching = false;
            state.fetches += 1;
            self.changed.notify_all();
            while !state.is_fetching && !state.is_stopped {
                if self.changed.wait_until(&mut state, next).timed_out() {
                    state.is_fetching = true;
                }
            }
            if state.is_stopped {
                return;
            }
        }
    }

    pub(crate) fn stop(&self) {
        self.state.lock().is_stopped = true;
        self.changed.notify_all();
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn whoever_asks_gets_one_fetch_and_the_next_only_later() {
        let (refresh, fetches) = (Refresh::default(), AtomicUsize::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                refresh.run(|| {
                    fetches.fetch_add(1, Ordering::SeqCst);
                    Outcome::Fetched
                });
            });
            // The first one needs nobody who asks. Whether this meets it or asks for another one, it waits for an end.
            assert!(refresh.wait(LONG));
            while refresh.state.lock().last_asked.is_none() {
                assert!(refresh.wait(LONG));
            }
            let so_far = fetches.load(Ordering::SeqCst);
            assert!(so_far <= 3, "{so_far}");
            let waiters: Vec<_> = (0..10)
                .map(|_| scope.spawn(|| refresh.wait(LONG)))
                .collect();
            for waiter in waiters {
                let waited = waiter.join().expect("no panic");
                assert!(!waited, "it was asked for a moment ago");
            }
            assert_eq!(fetches.load(Ordering::SeqCst), so_far);
            refresh.stop();
        });
    }

    #[test]
    fn nobody_waits_for_a_fetch_that_does_not_end() {
        let refresh = Refresh::default();
        assert!(!refresh.wait(Duration::from_millis(1)), "it has not begun");
        refresh.stop();
        assert!(!refresh.wait(LONG));
    }
}
