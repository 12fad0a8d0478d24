//! What a client can be told before it connects.

use std::sync::Arc;
use std::time::Duration;

use super::reconnect::{Pauses, Reconnect};
use super::settings::{Key, Settings};
use super::{Client, Error};

/// As good as no limit, and within what every clock can say.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A client to be; made by [`Client::builder`].
#[derive(Debug, Clone)]
#[must_use = "nothing is connected before connect()"]
pub struct ClientBuilder {
    url: Url,
    key: Option<Result<Key, ()>>,
    connect_timeout: Duration,
    request_timeout: Duration,
    heartbeat: Duration,
    reconnect: Reconnect,
    pauses: Pauses,
    retry_unconfirmed: bool,
    max_message_bytes: usize,
    receive_buffer_bytes: Option<usize>,
}

/// As it was given; somebody may have put a key into it.
#[derive(Clone)]
struct Url(String);

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Url(not shown)")
    }
}

impl ClientBuilder {
    pub(super) fn new(url: &str) -> ClientBuilder {
        ClientBuilder {
            url: Url(url.to_owned()),
            key: None,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            heartbeat: Duration::from_secs(30),
            reconnect: Reconnect::default(),
            pauses: Pauses::default(),
            retry_unconfirmed: false,
            max_message_bytes: 64 << 20,
            receive_buffer_bytes: None,
        }
    }

    /// The key to present, in the `Authorization` field of every request. It is in no URL, error or debug output.
    pub fn key(mut self, key: &str) -> ClientBuilder {
        self.key = Some(Key::new(key).ok_or(()));
        self
    }

    /// How long an attempt to connect may take, handshake included. 10 seconds unless chosen otherwise.
    pub fn connect_timeout(mut self, timeout: Duration) -> ClientBuilder {
        self.connect_timeout = timeout;
        self
    }

    /// How long a request may take from its beginning to its answer: each REST call, each publish and each message of a
    /// pipeline, reconnecting included, and the acks of a subscribe. 30 seconds unless chosen otherwise.
    pub fn request_timeout(mut self, timeout: Duration) -> ClientBuilder {
        self.request_timeout = timeout;
        self
    }

    /// How long a connection may be silent before the server is asked for a sign of life; after as long again it
    /// counts as lost. 30 seconds unless chosen otherwise.
    pub fn heartbeat(mut self, silence: Duration) -> ClientBuilder {
        self.heartbeat = silence;
        self
    }

    /// Whether lost connections are replaced. [`Reconnect::For`] two minutes unless chosen otherwise.
    pub fn reconnect(mut self, policy: Reconnect) -> ClientBuilder {
        self.reconnect = policy;
        self
    }

    /// The longest pause before the first attempt to reconnect, and the longest of all: it doubles from one to the
    /// other, and each is cut to a random part of itself. 100 milliseconds and 10 seconds unless chosen otherwise.
    pub fn reconnect_pauses(mut self, first: Duration, last: Duration) -> ClientBuilder {
        self.pauses = Pauses { first, last };
        self
    }

    /// Whether a message that was sent, but whose connection broke before its ack, is sent again, with the same id. It may
    /// then be in the topic twice. Otherwise, and unless chosen so, it is [`Error::Unconfirmed`].
    pub fn retry_unconfirmed(mut self, again: bool) -> ClientBuilder {
        self.retry_unconfirmed = again;
        self
    }

    /// The largest message that is taken from the server; a larger one is [`Error::Protocol`]. 64 MiB unless chosen
    /// otherwise.
    pub fn max_message_bytes(mut self, bytes: usize) -> ClientBuilder {
        self.max_message_bytes = bytes;
        self
    }

    /// The system's receive buffer of a connection. What it holds counts as delivered to the server, so that a small
    /// one lets a slow subscriber be felt earlier. The system's own choice unless chosen otherwise.
    pub fn receive_buffer_bytes(mut self, bytes: usize) -> ClientBuilder {
        self.receive_buffer_bytes = Some(bytes);
        self
    }

    /// Makes the client, and asks the server whether it is there and takes the key.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a wrong URL or key; [`Error::Connect`] or [`Error::Timeout`] when no server answers;
    /// [`Error::Refused`] with code `UNAUTHORIZED` when it does not take the key.
    pub fn connect(self) -> Result<Client, Error> {
        let client = self.build()?;
        match client.health() {
            Ok(_) => Ok(client),
            // A valid key without the right to see this.
            Err(error) if error.code() == Some("FORBIDDEN") => Ok(client),
            Err(error) => Err(error),
        }
    }

    /// Asks the server whether it lives. That takes no key, and says nothing about one.
    ///
    /// # Errors
    /// As [`connect`](ClientBuilder::connect); [`Error::Refused`] when the server answers anything but yes.
    pub fn check_alive(self) -> Result<(), Error> {
        self.build()?.inner.rest.livez()
    }

    fn build(self) -> Result<Client, Error> {
        let key = self
            .key
            .transpose()
            .map_err(|()| Error::invalid("key: visible ASCII characters only, and at least one"))?;
        if self.heartbeat.is_zero() {
            return Err(Error::invalid("heartbeat: more than zero"));
        }
        Ok(Client::new(Arc::new(Settings {
            address: self.url.0.parse()?,
            key,
            connect_timeout: self.connect_timeout.min(LONGEST),
            request_timeout: self.request_timeout.min(LONGEST),
            heartbeat: self.heartbeat.min(LONGEST),
            reconnect: self.reconnect,
            pauses: Pauses {
                first: self.pauses.first.min(LONGEST),
                last: self.pauses.last.min(LONGEST),
            },
            retry_unconfirmed: self.retry_unconfirmed,
            max_message_bytes: self.max_message_bytes,
            receive_buffer_bytes: self.receive_buffer_bytes,
        })))
    }
}
