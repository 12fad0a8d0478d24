//! The requests that the client sends.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::client::Position;

/// A subscribe request.
#[derive(Serialize)]
pub(in crate::client) struct Subscribe<'a> {
    pub(in crate::client) r#type: &'static str,
    pub(in crate::client) topic: &'a str,
    #[serde(flatten)]
    pub(in crate::client) subscriber: SubscriberFields<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::client) last_n: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::client) after_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::client) epoch: Option<&'a str>,
    /// Only for a pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::client) positions: Option<BTreeMap<&'a str, Position>>,
}

/// The fields of a subscribe request that do not depend on its topic.
#[derive(Clone, Copy, Serialize)]
pub(in crate::client) struct SubscriberFields<'a> {
    pub(in crate::client) client_id: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::client) presence: bool,
    pub(in crate::client) request_id: &'a str,
}

/// An unsubscribe request, without a `request_id` because nobody waits for the answer.
#[derive(Serialize)]
pub(in crate::client) struct Unsubscribe<'a> {
    pub(in crate::client) r#type: &'static str,
    pub(in crate::client) topic: &'a str,
    pub(in crate::client) client_id: &'a str,
}

#[derive(Serialize)]
pub(in crate::client) struct Publish<'a, T: Serialize + ?Sized> {
    pub(in crate::client) r#type: &'static str,
    pub(in crate::client) topic: &'a str,
    pub(in crate::client) message: Message<'a, T>,
    pub(in crate::client) idempotent: bool,
    pub(in crate::client) request_id: &'a str,
}

#[derive(Serialize)]
pub(in crate::client) struct Message<'a, T: Serialize + ?Sized> {
    pub(in crate::client) id: &'a str,
    pub(in crate::client) payload: &'a T,
}
