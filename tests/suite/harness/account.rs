//! The books of one subscription: each event received once, in order, or told as part of a gap at its place.

use serde_json::Value;

use super::{WsClient, code_of, seq_of, text_of};

/// What a subscription has received and been told so far.
#[derive(Debug)]
pub(crate) struct Account {
    topic: String,
    start: u64,
    last: u64,
    pub(crate) received: u64,
    pub(crate) told: u64,
    ids: Vec<String>,
}

impl Account {
    /// A subscription whose first event is the one after `start`.
    pub(crate) fn starting_after(topic: &str, start: u64) -> Account {
        Account {
            topic: topic.to_owned(),
            start,
            last: start,
            received: 0,
            told: 0,
            ids: Vec::new(),
        }
    }

    /// Reads until everything up to `end` is accounted for.
    pub(crate) fn read_until(&mut self, client: &mut WsClient, end: u64) {
        while self.last < end {
            self.take(&client.next_json());
        }
        self.assert_settled(end);
    }

    /// Takes the next event or gap notice of the subscription.
    pub(crate) fn take(&mut self, message: &Value) {
        assert_eq!(
            message["topic"], self.topic,
            "after {self:?} came {message}"
        );
        if message["type"] == "event" {
            self.take_event(message);
        } else {
            self.take_gap(message);
        }
    }

    /// The last sequence that was received or told.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The ids of the messages received, in order.
    pub(crate) fn ids(&self) -> &[String] {
        &self.ids
    }

    /// Asserts that received + told is what was published from the start to `end`.
    pub(crate) fn assert_settled(&self, end: u64) {
        assert_eq!(self.last, end, "{self:?}");
        assert_eq!(self.received + self.told, end - self.start, "{self:?}");
    }

    fn take_event(&mut self, event: &Value) {
        assert_eq!(
            seq_of(event),
            self.last + 1,
            "after {} came {event}",
            self.last
        );
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
            "a gap out of its place, after {}: {notice}",
            self.last
        );
        assert!(to >= from, "an empty gap: {notice}");
        assert_eq!(count, to - from + 1, "a wrong count: {notice}");
        check_wording(notice, count);
        self.last = to;
        self.told += count;
    }
}

/// A gap of a slow consumer comes as an error, one of an evicted history as an info.
fn check_wording(notice: &Value, count: u64) {
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
        _ => panic!("a gap for no known reason: {notice}"),
    }
}
