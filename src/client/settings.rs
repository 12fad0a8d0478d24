//! The settings of a client, shared by all its connections.

use std::fmt;
use std::time::Duration;

use super::Error;
use super::addresses::Addresses;
use super::reconnect::{Backoff, Reconnect};

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) addresses: Addresses,
    #[cfg(feature = "tls")]
    pub(super) trust: super::tls::Trust,
    pub(super) key: Option<Key>,
    pub(super) connect_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) heartbeat: Duration,
    pub(super) reconnect: Reconnect,
    pub(super) backoff: Backoff,
    pub(super) idempotency_window: Duration,
    pub(super) wait_for_topics: bool,
    pub(super) max_message_bytes: usize,
    pub(super) receive_buffer_bytes: Option<usize>,
}

impl Settings {
    /// Whether the error is that a topic does not exist, and the client waits for it.
    pub(super) fn waits_for_topic(&self, error: &Error) -> bool {
        self.wait_for_topics && error.code() == Some("TOPIC_NOT_FOUND")
    }

    /// How long an attempt to connect to one address may take.
    pub(super) fn attempt_timeout(&self) -> Duration {
        self.addresses.share(self.connect_timeout)
    }
}

/// A secret, used only in the `Authorization` header.
#[derive(Clone)]
pub(super) struct Key(String);

impl Key {
    /// `None` if the secret cannot be sent in a header.
    pub(super) fn new(secret: &str) -> Option<Key> {
        let fits = !secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Key(secret.to_owned()))
    }

    /// The value of the `Authorization` header.
    pub(super) fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(not shown)")
    }
}
