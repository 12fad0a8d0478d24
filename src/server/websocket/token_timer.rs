//! When a connection's token must be renewed, and when it expires. Pure.

use std::time::{Duration, Instant};

use crate::access::Expiry;

/// How long before its token expires a client hears of it.
const NOTICE: Duration = Duration::from_secs(30);

/// The timer of one token.
#[derive(Debug, Clone, Copy)]
pub(in crate::server) struct TokenTimer {
    expiry: Expiry,
    notice_at: Option<Instant>,
}

/// What it is time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Due {
    /// The client must hear that its token expires.
    Notice(Expiry),
    Expired,
}

impl TokenTimer {
    pub(in crate::server) fn new(expiry: Expiry) -> TokenTimer {
        // What is left may be less than the time since the machine started.
        let notice_at = expiry.at().checked_sub(NOTICE);
        TokenTimer {
            expiry,
            notice_at: Some(notice_at.unwrap_or_else(Instant::now)),
        }
    }

    /// How long until it is time for something.
    pub(in crate::server) fn left(&self, now: Instant) -> Duration {
        let next = self.notice_at.unwrap_or(self.expiry.at());
        next.saturating_duration_since(now)
    }

    /// What it is time for, if for anything. The notice is due once.
    pub(in crate::server) fn due(&mut self, now: Instant) -> Option<Due> {
        if now >= self.expiry.at() {
            return Some(Due::Expired);
        }
        self.notice_at.take_if(|at| now >= *at)?;
        Some(Due::Notice(self.expiry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(left: Duration) -> (TokenTimer, Instant) {
        let timer = TokenTimer::new(Expiry::after(left, 0));
        (timer, timer.expiry.at())
    }

    #[test]
    fn the_notice_is_due_once_and_the_end_for_ever() {
        let (mut timer, end) = timer(Duration::from_secs(100));
        let before = |secs: u64| end - Duration::from_secs(secs);
        assert_eq!(timer.left(before(100)), Duration::from_secs(70));
        assert_eq!(timer.due(before(31)), None);
        let notice = Some(Due::Notice(timer.expiry));
        assert_eq!(timer.due(before(30)), notice);
        assert_eq!(timer.due(before(29)), None);
        assert_eq!(timer.left(before(29)), Duration::from_secs(29));
        assert_eq!([timer.due(end), timer.due(end)], [Some(Due::Expired); 2]);
        assert_eq!(timer.left(end), Duration::ZERO);
    }

    #[test]
    fn a_short_token_is_announced_at_once() {
        let (mut timer, _) = timer(Duration::from_secs(5));
        assert_eq!(timer.left(Instant::now()), Duration::ZERO);
        assert!(matches!(timer.due(Instant::now()), Some(Due::Notice(_))));
    }
}
