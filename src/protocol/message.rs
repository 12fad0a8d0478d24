//! A message to publish: an id and a payload, both delivered verbatim.

use std::borrow::Cow;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::InvalidMessage;
use super::json::nested_deeper_than;

/// Deepest nesting of a payload. Its outermost bracket is level 1.
const MAX_DEPTH: usize = 128;

/// A valid message: its id is a UUID, its payload is JSON that is not nested too deep.
#[derive(Debug, Clone)]
pub(crate) struct Message<'a> {
    id: Cow<'a, str>,
    payload: &'a str,
    /// The id as a UUID, if the message is idempotent.
    key: Option<Uuid>,
}

impl<'a> Message<'a> {
    /// The id may have any form of a UUID: hyphenated, simple, urn, braced.
    ///
    /// # Errors
    /// [`InvalidMessage`] if the id is not a UUID or the payload is nested deeper than 128 levels.
    pub(crate) fn new(
        id: impl Into<Cow<'a, str>>,
        payload: &'a RawValue,
    ) -> Result<Message<'a>, InvalidMessage> {
        let id = id.into();
        if Uuid::try_parse(&id).is_err() {
            return Err(InvalidMessage::Id);
        }
        let payload = payload.get();
        if nested_deeper_than(MAX_DEPTH, payload) {
            return Err(InvalidMessage::TooDeep);
        }
        Ok(Message {
            id,
            payload,
            key: None,
        })
    }

    /// The message, to be published only if its topic does not remember its id.
    pub(crate) fn idempotent(self) -> Message<'a> {
        let key = Uuid::try_parse(&self.id).ok();
        Message { key, ..self }
    }

    /// A message that was valid when another server of the cluster took it.
    pub(crate) fn taken_before(id: &'a str, payload: &'a str) -> Message<'a> {
        Message {
            id: id.into(),
            payload,
            key: None,
        }
    }

    /// The id, as the publisher wrote it.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Of an idempotent message: its id, which is the same in every form.
    pub(crate) fn key(&self) -> Option<Uuid> {
        self.key
    }

    /// The JSON text of the payload, as the publisher wrote it.
    pub(crate) fn payload(&self) -> &str {
        self.payload
    }
}
