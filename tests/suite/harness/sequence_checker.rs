//! Checks the sequences of one subscription: each event is received once, in order, or reported in a gap at its place.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Incoming, WsClient, code_of, seq_of, text_of};

/// The sequences that a subscription has received or skipped so far.
pub(crate) struct SequenceChecker {
    topic: String,
    start: u64,
    last: u64,
    pub(crate) received: u64,
    pub(crate) skipped: u64,
    ids: Vec<String>,
}

/// Without the ids: a failed test prints it.
impl fmt::Debug for SequenceChecker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SequenceChecker")
            .field("topic", &self.topic)
            .field("start", &self.start)
            .field("last", &self.last)
            .field("received", &self.received)
            .field("skipped", &self.skipped)
            .finish_non_exhaustive()
    }
}

impl SequenceChecker {
    /// A subscription whose first event is the one after `start`.
    pub(crate) fn starting_after(topic: &str, start: u64) -> SequenceChecker {
        SequenceChecker {
            topic: topic.to_owned(),
            start,
            last: start,
            received: 0,
            skipped: 0,
            ids: Vec::new(),
        }
    }

    /// Reads until every event up to `end` is received or skipped.
    pub(crate) fn read_until(&mut self, client: &mut WsClient, end: u64) {
        while self.last < end {
            self.take(&client.next_json());
        }
        self.assert_complete(end);
    }

    /// Reads until it is done, as slowly as a subscriber may that must take something within `block_timeout`.
    pub(crate) fn read_slowly_until(
        &mut self,
        client: &mut WsClient,
        block_timeout: Duration,
        is_done: impl Fn() -> bool,
    ) {
        while !is_done() {
            match client.receive_within(block_timeout / 10) {
                Some(Incoming::Text(text)) => self.take(&serde_json::from_str(&text).unwrap()),
                Some(other) => panic!("ended: {other:?}"),
                None => {}
            }
            let since = Instant::now();
            while since.elapsed() < block_timeout / 20 {
                thread::yield_now();
            }
        }
    }

    /// Takes the next event or gap notice of the subscription.
    pub(crate) fn take(&mut self, message: &Value) {
        assert_eq!(message["topic"], self.topic, "after {self:?}: {message}");
        if message["type"] == "event" {
            self.take_event(message);
        } else {
            self.take_gap(message);
        }
    }

    /// The last sequence that was received or skipped.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The ids of the messages received, in order.
    pub(crate) fn ids(&self) -> &[String] {
        &self.ids
    }

    /// Asserts that received + skipped equals what was published from the start to `end`.
    pub(crate) fn assert_complete(&self, end: u64) {
        assert_eq!(self.last, end, "{self:?}");
        assert_eq!(self.received + self.skipped, end - self.start, "{self:?}");
    }

    fn take_event(&mut self, event: &Value) {
        assert_eq!(seq_of(event), self.last + 1, "after {}: {event}", self.last);
        self.last += 1;
        self.received += 1;
        let id = event["message"]["id"].as_str();
        self.ids
            .push(id.unwrap_or_else(|| panic!("no id in {event}")).to_owned());
    }

    fn take_gap(&mut self, notice: &Value) {
        let gap = &notice["gap"];
        let number = |field: &str| {
            gap[field]
                .as_u64()
                .unwrap_or_else(|| panic!("no {field} in {notice}"))
        };
        let (from, to, count) = (number("from_seq"), number("to_seq"), number("count"));
        assert_eq!(
            from,
            self.last + 1,
            "a misplaced gap after {}: {notice}",
            self.last
        );
        assert!(to >= from, "an empty gap: {notice}");
        assert_eq!(count, to - from + 1, "a wrong count: {notice}");
        check_text(notice, count);
        self.last = to;
        self.skipped += count;
    }
}

/// A slow consumer's gap comes as an error, a gap in the history as an info.
fn check_text(notice: &Value, count: u64) {
    match notice["gap"]["reason"].as_str() {
        Some("slow_consumer") => {
            assert_eq!(notice["type"], "error", "in {notice}");
            assert_eq!(code_of(notice), "SLOW_CONSUMER");
            let beginning = format!("{count} event");
            assert!(text_of(notice).starts_with(&beginning), "in {notice}");
        }
        Some("history_evicted") => {
            assert_eq!(notice["type"], "info", "in {notice}");
            assert_eq!(notice["msg"], "gap", "in {notice}");
        }
        _ => panic!("a gap with an unknown reason: {notice}"),
    }
}
