//! An event as a subscriber gets it: the text that came, and where its parts stand in it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;

use super::Error;
use super::wire::EventFrame;

/// One event: a message as it was published, with its number.
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
    /// Keeps `text` of which `frame` is the reading.
    pub(super) fn new(
        topic: &Arc<str>,
        text: &str,
        frame: &EventFrame<'_>,
    ) -> Result<Event, Error> {
        let place = |part: &str| {
            range_of(part, text).ok_or_else(|| Error::protocol("an event with an escaped id or ts"))
        };
        Ok(Event {
            topic: Arc::clone(topic),
            seq: frame.seq,
            id: place(&frame.id)?,
            ts: place(&frame.ts)?,
            payload: place(frame.payload.get())?,
            json: text.into(),
        })
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The number of the event in its topic: 1, 2, 3 … without holes.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The id that the publisher gave the message, a UUID in any of its forms.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.json[self.id.clone()]
    }

    /// When the message reached the server: RFC 3339, UTC, such as `2026-01-31T12:00:00.123456Z`.
    #[must_use]
    pub fn ts(&self) -> &str {
        &self.json[self.ts.clone()]
    }

    /// The same moment; `None` if [`ts`](Event::ts) names none.
    #[must_use]
    pub fn time(&self) -> Option<SystemTime> {
        let moment: jiff::Timestamp = self.ts().parse().ok()?;
        Some(moment.into())
    }

    /// The payload as a value of the program's own type.
    ///
    /// # Errors
    /// [`Error::Payload`] when the payload is not a `T`. It is still there, as [`raw`](Event::raw).
    pub fn payload<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        serde_json::from_str(self.raw()).map_err(Error::Payload)
    }

    /// The payload's JSON text, byte for byte as it was published.
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

/// Where `part` stands in `text`, if it is a piece of it.
fn range_of(part: &str, text: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    (text.get(start..end)? == part).then_some(start..end)
}
