//! Rate limit for log lines that a client can provoke: one line per second and kind, with the number of suppressed lines.
//!
//! The lines themselves are written where the event happens, with [`limited!`]. At level DEBUG no line is suppressed.

use std::time::{Duration, Instant};

use crate::sync::{Lock, Mutex, mutex};

const INTERVAL: Duration = Duration::from_secs(1);

/// The rate limit of one kind of line. On drop it logs the number of lines suppressed since the last one.
pub(crate) struct LimitedLog {
    kind: &'static str,
    /// Held only for the comparison; no other lock is taken under it.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_line: Option<Instant>,
    held_back: u64,
}

impl LimitedLog {
    /// `kind` names the lines, in the plural.
    pub(crate) fn new(kind: &'static str) -> LimitedLog {
        LimitedLog {
            kind,
            state: mutex(Lock::LimitedLog, State::default()),
        }
    }

    /// If a line may be written now, the number of lines suppressed since the last one. Otherwise counts one more.
    pub(crate) fn next_line(&self) -> Option<u64> {
        let mut state = self.state.lock();
        if state.last_line.is_some_and(|at| at.elapsed() < INTERVAL) {
            state.held_back += 1;
            return None;
        }
        state.last_line = Some(Instant::now());
        Some(std::mem::take(&mut state.held_back))
    }
}

impl Drop for LimitedLog {
    fn drop(&mut self) {
        let held_back = self.state.get_mut().held_back;
        if held_back > 0 {
            tracing::info!(kind = self.kind, held_back, "log lines held back");
        }
    }
}

/// `limited!(log, info, "message", field = value, …)` logs at the given level if the [`LimitedLog`] allows a line now, and
/// otherwise at DEBUG.
macro_rules! limited {
    ($log:expr, $level:ident, $message:literal, $($field:tt)+) => {
        match $log.next_line() {
            Some(held_back) => tracing::$level!($($field)+, held_back, $message),
            None => tracing::debug!($($field)+, $message),
        }
    };
}

pub(crate) use limited;

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn next_line_has_the_number_of_suppressed_lines() {
        let log = LimitedLog::new("tests");
        assert_eq!(log.next_line(), Some(0));
        assert_eq!([log.next_line(), log.next_line()], [None, None]);
        log.state.lock().last_line = Instant::now().checked_sub(INTERVAL);
        assert_eq!(log.next_line(), Some(2));
        assert_eq!(log.next_line(), None);
    }
}
