//! Checks what one subscriber of one topic is sent: every event once, in order, delivered or reported as a gap. Pure.

/// The position of one subscriber in a sequence of numbers without holes. After an error it goes on behind what came, so that one
/// error is reported once.
#[derive(Debug, Clone, Copy, Default)]
pub struct SequenceChecker {
    position: u64,
}

impl SequenceChecker {
    /// For a subscriber that has everything up to this number.
    pub fn after(position: u64) -> SequenceChecker {
        SequenceChecker { position }
    }

    /// The last number that was delivered or reported.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Takes an event; fails if it is not the next one.
    pub fn event(&mut self, number: u64) -> Result<(), String> {
        self.advance(number, number)
    }

    /// Takes a gap that is said to be about `count` events; fails if it does not begin with the next event, or if `count` is wrong.
    pub fn gap(&mut self, from: u64, to: u64, count: u64) -> Result<(), String> {
        let spanned = to.checked_sub(from).and_then(|more| more.checked_add(1));
        let in_order = self.advance(from, to);
        match spanned == Some(count) {
            true => in_order,
            false => Err(format!("the gap from {from} to {to} counts {count}")),
        }
    }

    /// Fails unless delivered + reported = published.
    pub fn check_complete(&self, published: u64) -> Result<(), String> {
        match self.position {
            accounted if accounted < published => Err(format!(
                "the last {} of {published} events were neither delivered nor reported as a gap",
                published - accounted
            )),
            accounted if accounted > published => Err(format!(
                "{accounted} events, of which only {published} were published"
            )),
            _ => Ok(()),
        }
    }

    fn advance(&mut self, number: u64, to: u64) -> Result<(), String> {
        let expected = self.position.saturating_add(1);
        self.position = to;
        let what = match number {
            _ if number > expected => "after a hole",
            _ if number < expected => "repeated or late",
            _ => return Ok(()),
        };
        Err(format!("event {number} is {what}: {expected} was next"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A subscriber that has received events 1 to 4.
    fn four_received() -> SequenceChecker {
        let mut checker = SequenceChecker::default();
        for number in 1..=4 {
            assert_eq!(checker.event(number), Ok(()));
        }
        checker
    }

    #[track_caller]
    fn assert_error(checked: Result<(), String>, expected: &str) {
        assert_eq!(checked.unwrap_err(), expected);
    }

    #[test]
    fn delivered_and_reported_is_published() {
        let mut checker = four_received();
        assert_eq!(checker.gap(5, 7, 3), Ok(()));
        assert_eq!(checker.event(8), Ok(()));
        assert_eq!(checker.gap(9, 9, 1), Ok(()));
        assert_eq!(checker.check_complete(9), Ok(()));
    }

    #[test]
    fn a_lost_event_is_found_once() {
        let mut checker = four_received();
        assert_error(checker.event(6), "event 6 is after a hole: 5 was next");
        assert_eq!(checker.event(7), Ok(()));
    }

    #[test]
    fn events_lost_at_the_end_are_found() {
        assert_error(
            four_received().check_complete(6),
            "the last 2 of 6 events were neither delivered nor reported as a gap",
        );
    }

    #[test]
    fn a_doubled_event_is_found() {
        let checked = four_received().event(4);
        assert_error(checked, "event 4 is repeated or late: 5 was next");
    }

    #[test]
    fn both_of_two_swapped_events_are_found() {
        let mut checker = four_received();
        assert_error(checker.event(6), "event 6 is after a hole: 5 was next");
        assert_error(checker.event(5), "event 5 is repeated or late: 7 was next");
    }

    #[test]
    fn an_event_that_was_never_published_is_found() {
        assert_error(
            four_received().check_complete(3),
            "4 events, of which only 3 were published",
        );
    }

    #[test]
    fn a_gap_that_leaves_an_event_out_is_found() {
        let checked = four_received().gap(6, 7, 2);
        assert_error(checked, "event 6 is after a hole: 5 was next");
    }

    #[test]
    fn a_gap_about_a_delivered_event_is_found() {
        let checked = four_received().gap(4, 7, 4);
        assert_error(checked, "event 4 is repeated or late: 5 was next");
    }

    #[test]
    fn an_event_that_was_reported_as_a_gap_is_found() {
        let mut checker = four_received();
        assert_eq!(checker.gap(5, 6, 2), Ok(()));
        assert_error(checker.event(6), "event 6 is repeated or late: 7 was next");
    }

    #[test]
    fn a_gap_with_a_wrong_count_is_found() {
        for (from, to, count) in [(5, 6, 1), (5, 6, 3), (5, 5, 0), (5, 4, 0), (5, u64::MAX, 0)] {
            let expected = format!("the gap from {from} to {to} counts {count}");
            assert_error(four_received().gap(from, to, count), &expected);
        }
    }
}
