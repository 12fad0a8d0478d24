//! Checks all traffic of the harness against the OpenAPI and AsyncAPI documents: whatever the server sends must be
//! described there, and it must accept exactly what their schemas accept.

mod document;
mod frames;
mod rest;
mod sent_request;

pub(crate) use document::{Document, asyncapi, openapi, pointer};
pub(crate) use frames::{Requests, check_frame, is_close_code};
pub(crate) use rest::check_reply;
pub(crate) use sent_request::{Sent, SentRequest};

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

/// JSON without its payloads, which may be nested deeper or hold larger numbers than a [`Value`] allows.
pub(crate) fn without_payloads(text: &str) -> Option<Value> {
    let Ok(fields) = serde_json::from_str::<BTreeMap<String, &RawValue>>(text) else {
        return serde_json::from_str(text).ok();
    };
    let field = |(name, value): (String, &RawValue)| {
        let value = match name.as_str() {
            "payload" => Value::Null,
            "message" => without_payloads(value.get())?,
            "events" => events(value.get())?,
            _ => serde_json::from_str(value.get()).ok()?,
        };
        Some((name, value))
    };
    let fields: Option<serde_json::Map<_, _>> = fields.into_iter().map(field).collect();
    fields.map(Value::Object)
}

fn events(text: &str) -> Option<Value> {
    let Ok(events) = serde_json::from_str::<Vec<&RawValue>>(text) else {
        return serde_json::from_str(text).ok();
    };
    let events = events
        .into_iter()
        .map(|event| without_payloads(event.get()));
    events.collect::<Option<_>>().map(Value::Array)
}
