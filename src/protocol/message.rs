//! What a publisher publishes: an id and a payload, both passed on as they came.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::InvalidMessage;
use super::json::nested_deeper_than;

/// Deepest nesting of a payload; its own outermost bracket is level 1.
const MAX_DEPTH: usize = 128;

/// A message that may be published: its id is a UUID, its payload is JSON within the depth bound.
#[derive(Debug, Clone)]
pub(crate) struct Message<'a> {
    id: Cow<'a, str>,
    payload: &'a RawValue,
}

impl<'a> Message<'a> {
    /// Takes an id in any form of UUID (hyphenated, simple, urn, braced) and a payload; both are delivered verbatim.
    ///
    /// # Errors
    /// [`InvalidMessage`] when the id is no UUID or the payload is nested deeper than 128 levels.
    pub(crate) fn new(
        id: impl Into<Cow<'a, str>>,
        payload: &'a RawValue,
    ) -> Result<Message<'a>, InvalidMessage> {
        let id = id.into();
        if uuid::Uuid::try_parse(&id).is_err() {
            return Err(InvalidMessage::Id);
        }
        if nested_deeper_than(MAX_DEPTH, payload.get()) {
            return Err(InvalidMessage::TooDeep);
        }
        Ok(Message { id, payload })
    }

    /// The id as it was given.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The payload's JSON text as it was given.
    pub(crate) fn payload(&self) -> &str {
        self.payload.get()
    }
}
