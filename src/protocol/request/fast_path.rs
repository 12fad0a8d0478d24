//! The fast path for a publish in its usual form.

use serde_json::value::RawValue;

use super::Request;
use crate::protocol::{Message, NamedFields, RequestId, check_topic_name};

/// A publish as nearly every client writes it: every field once, no escapes, no unknown fields. Any other text goes to
/// [`read_any`](super::read_any), which reports what is wrong. So this must accept nothing that `read_any` refuses.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainPublish<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    topic: &'a str,
    #[serde(borrow)]
    message: NamedFields<PlainMessage<'a>>,
    idempotent: Option<bool>,
    request_id: Option<&'a str>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainMessage<'a> {
    id: &'a str,
    #[serde(borrow)]
    payload: &'a RawValue,
}

pub(crate) fn read_publish(text: &str) -> Option<(Option<RequestId<'_>>, Request<'_>)> {
    let PlainPublish {
        kind,
        topic,
        message,
        idempotent,
        request_id,
    } = serde_json::from_str::<NamedFields<PlainPublish<'_>>>(text)
        .ok()?
        .0;
    if kind != "publish" || check_topic_name(topic).is_err() {
        return None;
    }
    let mut message = Message::new(message.0.id, message.0.payload).ok()?;
    if idempotent == Some(true) {
        message = message.idempotent();
    }
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
