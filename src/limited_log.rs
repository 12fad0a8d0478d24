//! Log lines that a client can provoke: of each kind one a second at most, with how many were held back.
//!
//! Owns the pace, not the lines: each stands where the thing happens, written with [`limited!`]. At level DEBUG every line
//! is there.

use std::time::{Duration, Instant};

use crate::sync::{Lock, Mutex, mutex};

const INTERVAL: Duration = Duration::from_secs(1);

/// The pace of one kind of line. Dropped, it logs the count that no line has told yet.
pub(crate) struct LimitedLog {
    kind: &'static str,
    /// Held for the comparison alone; nothing is taken while it is held.
    pace: Mutex<Pace>,
}

#[derive(Default)]
struct Pace {
    last_line: Option<Instant>,
    held_back: u64,
}

impl LimitedLog {
    /// `kind` names the lines in the plural.
    pub(crate) fn new(kind: &'static str) -> LimitedLog {
        LimitedLog {
            kind,
            pace: mutex(Lock::LimitedLog, Pace::default()),
        }
    }

    /// How many lines were held back since the last one, if a line may be written now; else counts one more.
    pub(crate) fn next_line(&self) -> Option<u64> {
        let mut pace = self.pace.lock();
        if pace.last_line.is_some_and(|at| at.elapsed() < INTERVAL) {
            pace.held_back += 1;
            return None;
        }
        pace.last_line = Some(Instant::now());
        Some(std::mem::take(&mut pace.held_back))
    }
}

impl Drop for LimitedLog {
    fn drop(&mut self) {
        let held_back = self.pace.get_mut().held_back;
        if held_back > 0 {
            tracing::info!(kind = self.kind, held_back, "log lines held back");
        }
    }
}

/// `limited!(log, info, "message", field = value, …)` logs with the macro of `tracing` for that level when the
/// [`LimitedLog`] has its turn, and at DEBUG otherwise.
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
    fn what_is_held_back_is_counted_into_the_next_line() {
        let log = LimitedLog::new("tests");
        assert_eq!(log.next_line(), Some(0));
        assert_eq!([log.next_line(), log.next_line()], [None, None]);
        log.pace.lock().last_line = Instant::now().checked_sub(INTERVAL);
        assert_eq!(log.next_line(), Some(2));
        assert_eq!(log.next_line(), None);
    }
}
