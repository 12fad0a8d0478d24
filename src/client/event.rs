//! An event of a subscription: the received text, and the ranges of its fields.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;

use super::Error;
use super::wire::EventFrame;

/// One event: a published message and its `seq`.
#[derive(Clone)]
pub struct Event {
    topic: Arc<str>,
    seq: u64,
    json: Box<str>,
    id: Range<usize>,
    ts: Range<usize>,
    payload: Range<usize>,
}

impl Event {
    /// `frame` was parsed from `text`.
    pub(super) fn new(
        topic: &Arc<str>,
        text: &str,
        frame: &EventFrame<'_>,
    ) -> Result<Event, Error> {
        let range = |part: &str| {
            range_of(part, text).ok_or_else(|| Error::protocol("an event with an escaped id or ts"))
        };
        Ok(Event {
            topic: Arc::clone(topic),
            seq: frame.seq,
            id: range(&frame.id)?,
            ts: range(&frame.ts)?,
            payload: range(frame.payload.get())?,
            json: text.into(),
        })
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The sequence number in the topic: 1, 2, 3 … without gaps.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The id of the message: a UUID in any form, as the publisher wrote it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.json[self.id.clone()]
    }

    /// When the message was published: RFC 3339, UTC, such as `2026-01-31T12:00:00.123456Z`.
    #[must_use]
    pub fn ts(&self) -> &str {
        &self.json[self.ts.clone()]
    }

    /// [`ts`](Event::ts) as a time; `None` if it cannot be parsed.
    #[must_use]
    pub fn time(&self) -> Option<SystemTime> {
        let time: jiff::Timestamp = self.ts().parse().ok()?;
        Some(time.into())
    }

    /// Deserializes the payload.
    ///
    /// # Errors
    /// [`Error::Payload`] if the payload is not a `T`. [`raw`](Event::raw) still returns it.
    pub fn payload<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        serde_json::from_str(self.raw()).map_err(Error::Payload)
    }

    /// The JSON text of the payload, byte for byte as published.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.json[self.payload.clone()]
    }

    /// The whole event as the JSON text that the server sent.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("json", &self.json).finish()
    }
}

/// The range of `part` in `text`, if it is a slice of it.
fn range_of(part: &str, text: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    (text.get(start..end)? == part).then_some(start..end)
}
