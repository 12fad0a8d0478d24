//! The builder of a client.

use std::sync::Arc;
use std::time::Duration;

use super::reconnect::{Backoff, Reconnect};
use super::settings::{Key, Settings};
use super::{Client, Error};

/// In effect no limit, and small enough to be added to any `Instant`.
const MAX_DURATION: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Settings for a new client; made by [`Client::builder`].
#[derive(Debug, Clone)]
#[must_use = "nothing is connected before connect()"]
pub struct ClientBuilder {
    url: Url,
    #[cfg(feature = "tls")]
    ca_file: Option<std::path::PathBuf>,
    key: Option<Result<Key, ()>>,
    connect_timeout: Duration,
    request_timeout: Duration,
    heartbeat: Duration,
    reconnect: Reconnect,
    backoff: Backoff,
    idempotency_window: Duration,
    wait_for_topics: bool,
    max_message_bytes: usize,
    receive_buffer_bytes: Option<usize>,
}

/// Not shown in debug output, since it may contain a key.
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
            #[cfg(feature = "tls")]
            ca_file: None,
            key: None,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            heartbeat: Duration::from_secs(30),
            reconnect: Reconnect::default(),
            backoff: Backoff::default(),
            idempotency_window: Duration::from_secs(120),
            wait_for_topics: false,
            max_message_bytes: 64 << 20,
            receive_buffer_bytes: None,
        }
    }

    /// Adds the address of another server of the same cluster, or several, separated by commas. They are tried in the order in
    /// which they were given; the first that answers is used as long as it works. With several, each has an equal share of
    /// the [connect timeout](ClientBuilder::connect_timeout).
    ///
    /// ```
    /// # let server = threadcast::Server::bind(threadcast::Config { port: 0, ..Default::default() })?;
    /// # let second = format!("ws://{}/ws", server.local_addr());
    /// use threadcast::client::Client;
    ///
    /// let client = Client::builder("ws://127.0.0.1:1/ws").also(&second).connect()?;
    /// assert_eq!(client.server(), server.local_addr().to_string());
    /// # drop(client);
    /// # server.shutdown();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn also(mut self, url: &str) -> ClientBuilder {
        self.url.0.push(',');
        self.url.0.push_str(url);
        self
    }

    /// A file with the certificates (PEM) of the authorities that may sign the certificate of a server, for URLs with `wss://` or
    /// `https://`. Default: those of the system.
    ///
    /// ```no_run
    /// use threadcast::client::Client;
    ///
    /// let client = Client::builder("wss://hub.internal:8443/ws").ca_file("/etc/hub/ca.pem").connect()?;
    /// # Ok::<(), threadcast::client::Error>(())
    /// ```
    #[cfg(feature = "tls")]
    pub fn ca_file(mut self, file: impl Into<std::path::PathBuf>) -> ClientBuilder {
        self.ca_file = Some(file.into());
        self
    }

    /// The key to present, in the `Authorization` header of every request. It never appears in a URL, an error or debug output.
    pub fn key(mut self, key: &str) -> ClientBuilder {
        self.key = Some(Key::new(key).ok_or(()));
        self
    }

    /// How long an attempt to connect may take, including the handshake; with several addresses, a round of attempts, of
    /// which each has an equal share. Default: 10 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> ClientBuilder {
        self.connect_timeout = timeout;
        self
    }

    /// How long a request may take until its answer: each REST call, each publish and each message of a pipeline,
    /// including reconnecting, and the acks of a subscribe. Default: 30 seconds.
    pub fn request_timeout(mut self, timeout: Duration) -> ClientBuilder {
        self.request_timeout = timeout;
        self
    }

    /// How long a connection may be silent before the client sends a ping; after the same time again the connection
    /// counts as lost. Default: 30 seconds.
    pub fn heartbeat(mut self, silence: Duration) -> ClientBuilder {
        self.heartbeat = silence;
        self
    }

    /// Whether lost connections are replaced. Default: [`Reconnect::For`] two minutes.
    pub fn reconnect(mut self, policy: Reconnect) -> ClientBuilder {
        self.reconnect = policy;
        self
    }

    /// Backoff between attempts to reconnect: the pause doubles from `first` to `last`, and each pause is a random part
    /// of that. Default: 100 milliseconds and 10 seconds.
    pub fn reconnect_pauses(mut self, first: Duration, last: Duration) -> ClientBuilder {
        self.backoff = Backoff { first, last };
        self
    }

    /// How long a message whose connection was lost before its ack is sent again, counted from its first sending. Later it is
    /// [`Error::Unconfirmed`]; with zero, at once. Default: two minutes, as long as a server remembers its id, so that it is
    /// in the topic once. Not longer than the server's `PUBSUB_IDEMPOTENCY_WINDOW_SECS`.
    pub fn idempotency_window(mut self, window: Duration) -> ClientBuilder {
        self.idempotency_window = window;
        self
    }

    /// Whether to wait for a topic that does not exist, instead of an error with the code `TOPIC_NOT_FOUND`. Default: `false`.
    ///
    /// A subscription then opens at once and waits for its topic without a limit; it begins with the first event of the
    /// topic, whichever [`Start`](super::Start) it has but a position. A publish waits for up to the
    /// [request timeout](ClientBuilder::request_timeout), a pipeline before its first message. The topic is looked for with
    /// the pauses of [`reconnect_pauses`](ClientBuilder::reconnect_pauses).
    ///
    /// ```
    /// # let server = threadcast::Server::bind(threadcast::Config { port: 0, ..Default::default() })?;
    /// # let url = format!("ws://{}/ws", server.local_addr());
    /// use threadcast::client::{Client, Delivery, Start};
    ///
    /// let client = Client::builder(&url).wait_for_topics(true).connect()?;
    /// let mut subscription = client.subscribe("orders", Start::Now)?;
    /// client.create_topic("orders")?;
    /// client.publish("orders", &1)?;
    /// let Delivery::Event(event) = subscription.recv()? else { panic!("an event") };
    /// assert_eq!(event.seq(), 1);
    /// # server.shutdown();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_for_topics(mut self, wait: bool) -> ClientBuilder {
        self.wait_for_topics = wait;
        self
    }

    /// The largest message accepted from the server; a larger one is [`Error::Protocol`]. Default: 64 MiB.
    pub fn max_message_bytes(mut self, bytes: usize) -> ClientBuilder {
        self.max_message_bytes = bytes;
        self
    }

    /// The receive buffer of the socket. For the server, bytes in it are delivered, so with a small buffer the server
    /// detects a slow subscriber earlier. Default: chosen by the system.
    pub fn receive_buffer_bytes(mut self, bytes: usize) -> ClientBuilder {
        self.receive_buffer_bytes = Some(bytes);
        self
    }

    /// Creates the client, and checks that the server is reachable and accepts the key. Of several servers, the first that
    /// answers is enough.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an invalid URL or key; [`Error::Connect`] or [`Error::Timeout`] if no server answers, of several
    /// [`Error::NoServer`]; [`Error::Refused`] with code `UNAUTHORIZED` if it does not accept the key.
    pub fn connect(self) -> Result<Client, Error> {
        let client = self.build()?;
        match client.health() {
            Ok(_) => Ok(client),
            // The key is valid, it only lacks the right to read the health.
            Err(error) if error.code() == Some("FORBIDDEN") => Ok(client),
            Err(error) => Err(error),
        }
    }

    /// Checks that the server is alive; of several servers, that one is. Sends no key, and does not check the server's certificate.
    ///
    /// # Errors
    /// As [`connect`](ClientBuilder::connect); [`Error::Refused`] if the response is an error.
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
            addresses: self.url.0.parse()?,
            #[cfg(feature = "tls")]
            trust: super::tls::Trust::new(self.ca_file)?,
            key,
            connect_timeout: self.connect_timeout.min(MAX_DURATION),
            request_timeout: self.request_timeout.min(MAX_DURATION),
            heartbeat: self.heartbeat.min(MAX_DURATION),
            reconnect: self.reconnect,
            backoff: Backoff {
                first: self.backoff.first.min(MAX_DURATION),
                last: self.backoff.last.min(MAX_DURATION),
            },
            idempotency_window: self.idempotency_window.min(MAX_DURATION),
            wait_for_topics: self.wait_for_topics,
            max_message_bytes: self.max_message_bytes,
            receive_buffer_bytes: self.receive_buffer_bytes,
        })))
    }
}
