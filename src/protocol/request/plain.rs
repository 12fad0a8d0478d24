//! The short way for the usual publish.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Request;
use crate::protocol::{Message, RequestId, TopicName};

/// A publish as nearly every client writes it: every field once, no escapes, nothing unknown. Whatever does not fit is
/// read by [`read_any`](super::read_any), which knows what is wrong; so this must accept nothing that `read_any` would not.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainPublish<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    topic: &'a str,
    #[serde(borrow)]
    message: Object<PlainMessage<'a>>,
    request_id: Option<&'a str>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainMessage<'a> {
    id: &'a str,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// A struct read from an object only: by itself serde would take an array of the fields as well.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Object<T>, M::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

pub(super) fn read_publish(text: &str) -> Option<(Option<RequestId<'_>>, Request<'_>)> {
    let PlainPublish {
        kind,
        topic,
        message,
        request_id,
    } = serde_json::from_str::<Object<PlainPublish<'_>>>(text)
        .ok()?
        .0;
    if kind != "publish" || TopicName::check(topic).is_err() {
        return None;
    }
    let message = Message::new(message.0.id, message.0.payload).ok()?;
    let request_id = request_id
        .map(|id| RequestId::new(id.into()))
        .transpose()
        .ok()?;
    Some((
        request_id,
        Request::Publish {
            topic: topic.into(),
            message,
        },
    ))
}
