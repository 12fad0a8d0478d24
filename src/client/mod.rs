//! A blocking client: topics, publishing, subscribing, on plain threads.
//!
//! ```
//! # let server = threadcast::Server::bind(threadcast::Config { port: 0, ..Default::default() })?;
//! # let url = format!("ws://{}/ws", server.local_addr());
//! use serde::{Deserialize, Serialize};
//! use threadcast::client::{Client, Delivery, Start};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Order {
//!     id: String,
//!     amount: f64,
//! }
//!
//! let client = Client::connect(&url)?;
//! client.create_topic("orders")?;
//!
//! let mut orders = client.subscribe("orders", Start::Last(10))?;
//! let receipt = client.publish("orders", &Order { id: "ORD-1".into(), amount: 99.5 })?;
//! assert_eq!(receipt.seq, 1);
//!
//! match orders.recv()? {
//!     Delivery::Event(event) => assert_eq!(event.payload::<Order>()?.id, "ORD-1"),
//!     Delivery::Gap(gap) => println!("{gap}"),
//!     _ => {}
//! }
//! # drop((orders, client));
//! # server.shutdown();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Client`] is cheap to clone and may be used by many threads at once. Events that a subscription misses are reported
//! as a [`Gap`]. `docs/delivery.md` describes the guarantees of the server, `docs/client.md` those of the client.
//!
//! **Connections.** All messages are published over one connection, which a background thread reads. Each [`Subscription`]
//! has a connection of its own, read on the calling thread, so a slow reader delays nobody else, and a thread may publish
//! while it reads. Each REST request has a connection of its own. The [`Reconnect`] policy decides whether a lost
//! connection is replaced.
//!
//! **Presence.** A subscription can hear who else is subscribed to its topics ([`Subscriber::presence`]).
//!
//! **Several servers.** A client that knows the addresses of several servers of a cluster goes on to the next one when one does
//! not answer ([`ClientBuilder::also`]).
//!
//! **No TLS.** Use a proxy in front of the server.

mod address;
mod addresses;
mod builder;
mod closer;
mod connect;
mod connection;
mod delivery;
mod error;
mod event;
mod followed_pattern;
mod followed_topic;
mod gap;
mod pattern_start;
mod pending_acks;
mod phase;
mod pipeline;
mod position;
mod presence;
mod publish_connection;
mod publish_link;
mod publisher;
mod reconnect;
mod rest;
mod settings;
mod socket;
mod stream;
mod subscriber;
mod subscription;
#[cfg(feature = "tls")]
mod tls;
mod topic_change;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

pub use builder::ClientBuilder;
pub use closer::Closer;
pub use delivery::{Deliveries, Delivery, IntoDeliveries};
pub use error::{EndReason, Error, FailedAttempt, FailedMessage};
pub use event::Event;
pub use gap::{Gap, GapReason};
pub use pattern_start::{PatternStart, Positions};
pub use pipeline::{Pipeline, Summary};
pub use position::{Position, Start};
pub use presence::{Presence, PresenceChange};
pub use publisher::Published;
pub use reconnect::Reconnect;
pub use rest::{
    ConnectionState, Connections, EngineState, Health, History, HistoryState, NodeState,
    SubscriberList, SubscriberState, SubscriptionState, TopicLimits, TopicOptions, TopicState,
    TopicStats, TopicSummary,
};
pub use subscriber::Subscriber;
pub use subscription::Subscription;
pub use topic_change::TopicChange;

use crate::protocol::{TopicName, TopicPattern};
use publisher::Publisher;
use rest::Rest;
use settings::Settings;

/// A client of one server, or of several that are one cluster. Clones share the publishing connection. Dropping the last clone closes it with a close frame,
/// which takes at most two seconds.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Arc<Settings>,
    rest: Rest,
    publisher: Publisher,
}

impl Client {
    /// Connects with default settings to the server at `ws://host:port/ws`; `http://host:port` works too. Several addresses are
    /// separated by commas; [`ClientBuilder::also`] describes which one is used.
    ///
    /// # Errors
    /// As [`ClientBuilder::connect`].
    pub fn connect(url: &str) -> Result<Client, Error> {
        Client::builder(url).connect()
    }

    /// A client with other settings: a key, timeouts, a reconnect policy.
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder::new(url)
    }

    fn new(settings: Arc<Settings>) -> Client {
        Client {
            inner: Arc::new(Inner {
                rest: Rest::new(Arc::clone(&settings)),
                publisher: Publisher::new(Arc::clone(&settings)),
                settings,
            }),
        }
    }

    /// Creates a topic with the server's settings.
    ///
    /// # Errors
    /// [`Error::Refused`] with code `TOPIC_EXISTS` if it exists.
    pub fn create_topic(&self, name: &str) -> Result<(), Error> {
        self.create_topic_with(name, &TopicOptions::default())
    }

    /// Creates a topic with settings of its own.
    ///
    /// # Errors
    /// As [`create_topic`](Client::create_topic), and `VALIDATION_ERROR` for a setting out of range.
    pub fn create_topic_with(&self, name: &str, options: &TopicOptions) -> Result<(), Error> {
        self.inner
            .rest
            .create_topic(checked(name)?.as_str(), options)
    }

    /// Creates a topic with settings of its own, unless it exists: then it stays as it is. Returns whether it was created.
    ///
    /// # Errors
    /// As [`create_topic_with`](Client::create_topic_with), without `TOPIC_EXISTS`.
    pub fn create_topic_if_missing(
        &self,
        name: &str,
        options: &TopicOptions,
    ) -> Result<bool, Error> {
        match self.create_topic_with(name, options) {
            Ok(()) => Ok(true),
            Err(error) if error.code() == Some("TOPIC_EXISTS") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Changes settings of a topic, and returns its state. A smaller history or queue acts at once; what it skips is reported to
    /// subscribers as a [`Gap`].
    ///
    /// # Errors
    /// [`Error::Refused`] with code `TOPIC_NOT_FOUND` if it does not exist, `VALIDATION_ERROR` for a setting out of range.
    pub fn change_topic(&self, name: &str, options: &TopicOptions) -> Result<TopicState, Error> {
        self.inner
            .rest
            .change_topic(checked(name)?.as_str(), options)
    }

    /// Deletes a topic; its subscribers are notified.
    ///
    /// # Errors
    /// [`Error::Refused`] with code `TOPIC_NOT_FOUND` if it does not exist.
    pub fn delete_topic(&self, name: &str) -> Result<(), Error> {
        self.inner.rest.delete_topic(checked(name)?.as_str())
    }

    /// All topics, sorted by name.
    ///
    /// # Errors
    /// [`Error::Refused`] if the key lacks the right; [`Error::Connect`] and [`Error::Timeout`], as any call.
    pub fn topics(&self) -> Result<Vec<TopicSummary>, Error> {
        self.inner.rest.topics(None)
    }

    /// The topics that match a pattern, such as `shop.*`, sorted by name. A name matches itself.
    ///
    /// # Errors
    /// As [`topics`](Client::topics), and [`Error::Invalid`] for what is neither a pattern nor a name.
    pub fn topics_matching(&self, pattern: &str) -> Result<Vec<TopicSummary>, Error> {
        match pattern.contains('*') {
            true => drop(checked_pattern(pattern)?),
            false => drop(checked(pattern)?),
        }
        self.inner.rest.topics(Some(pattern))
    }

    /// The state of a topic.
    ///
    /// # Errors
    /// [`Error::Refused`] with code `TOPIC_NOT_FOUND` if it does not exist.
    pub fn topic(&self, name: &str) -> Result<TopicState, Error> {
        self.inner.rest.topic(checked(name)?.as_str())
    }

    /// Who is subscribed to a topic: at most `limit`, which is 1 to 100,000, of them, sorted by client id.
    ///
    /// # Errors
    /// As [`topic`](Client::topic).
    pub fn subscribers(&self, topic: &str, limit: u64) -> Result<SubscriberList, Error> {
        self.inner.rest.subscribers(checked(topic)?.as_str(), limit)
    }

    /// A part of a topic's history, without subscribing. `Start::Last(u64::MAX)` is all of it.
    ///
    /// # Errors
    /// As [`topic`](Client::topic).
    pub fn history(&self, topic: &str, start: &Start) -> Result<History, Error> {
        self.inner.rest.history(checked(topic)?.as_str(), start)
    }

    /// The state of the server.
    ///
    /// # Errors
    /// As [`topics`](Client::topics).
    pub fn health(&self) -> Result<Health, Error> {
        self.inner.rest.health()
    }

    /// The counters of each topic.
    ///
    /// # Errors
    /// As [`topics`](Client::topics).
    pub fn stats(&self) -> Result<BTreeMap<String, TopicStats>, Error> {
        self.inner.rest.stats()
    }

    /// The nodes of the cluster, sorted by id. Empty if the server is not a node of one.
    ///
    /// # Errors
    /// As [`topics`](Client::topics); [`Error::Refused`] with code `UNAVAILABLE` while Redis cannot be reached.
    pub fn nodes(&self) -> Result<Vec<NodeState>, Error> {
        self.inner.rest.nodes()
    }

    /// The open connections: at most `limit`, those with the lowest ids.
    ///
    /// # Errors
    /// As [`topics`](Client::topics).
    pub fn connections(&self, limit: u64) -> Result<Connections, Error> {
        self.inner.rest.connections(limit)
    }

    /// Publishes a message and waits for its receipt. Its id is a random UUID. If the connection breaks before the receipt, it is
    /// sent again, and is in the topic once.
    ///
    /// # Errors
    /// [`Error::Payload`] if the payload cannot be written as JSON; [`Error::Refused`] if the server refuses the message;
    /// [`Error::Unconfirmed`] if it may or may not have been published. After any other error it was not published.
    pub fn publish<T: Serialize + ?Sized>(
        &self,
        topic: &str,
        payload: &T,
    ) -> Result<Published, Error> {
        let publisher = self.publisher();
        publisher.publish(publisher.outgoing(topic, None, payload)?)
    }

    /// [`publish`](Client::publish) with an id of your own: a UUID in any form, delivered verbatim.
    ///
    /// # Errors
    /// As [`publish`](Client::publish), and [`Error::Invalid`] if the id is not a UUID.
    pub fn publish_with_id<T: Serialize + ?Sized>(
        &self,
        topic: &str,
        id: &str,
        payload: &T,
    ) -> Result<Published, Error> {
        let publisher = self.publisher();
        publisher.publish(publisher.outgoing(topic, Some(id), payload)?)
    }

    /// Publishes many messages without waiting for each receipt: up to `window` (at least 1) are in flight at once.
    ///
    /// ```
    /// # let server = threadcast::Server::bind(threadcast::Config { port: 0, ..Default::default() })?;
    /// # let client = threadcast::client::Client::connect(&format!("ws://{}/ws", server.local_addr()))?;
    /// # client.create_topic("orders")?;
    /// let mut pipeline = client.pipeline("orders", 64);
    /// for number in 0..1000 {
    ///     pipeline.send(&number)?;
    /// }
    /// assert_eq!(pipeline.finish()?.published, 1000);
    /// # drop(client);
    /// # server.shutdown();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn pipeline(&self, topic: &str, window: usize) -> Pipeline {
        Pipeline::new(self.clone(), topic, window)
    }

    /// Subscribes to a topic, on a connection of its own.
    ///
    /// # Errors
    /// As [`Subscriber::open`].
    pub fn subscribe(&self, topic: &str, start: impl Into<Start>) -> Result<Subscription, Error> {
        self.subscriber().topic(topic, start).open()
    }

    /// Subscribes to all topics that match a pattern, now and later, on a connection of its own. That none matches is no error. Each
    /// topic that joins or is deleted is a [`Delivery::Topic`].
    ///
    /// ```
    /// # let server = threadcast::Server::bind(threadcast::Config { port: 0, ..Default::default() })?;
    /// # let client = threadcast::client::Client::connect(&format!("ws://{}/ws", server.local_addr()))?;
    /// use threadcast::client::{Delivery, PatternStart, TopicChange};
    ///
    /// let mut shop = client.subscribe_pattern("shop.*", PatternStart::Now)?;
    /// client.create_topic("shop.eu")?;
    /// client.publish("shop.eu", &1)?;
    /// let Delivery::Topic(TopicChange::Joined { topic, .. }) = shop.recv()? else { panic!("it joins") };
    /// assert_eq!(topic, "shop.eu");
    /// let Delivery::Event(event) = shop.recv()? else { panic!("an event") };
    /// assert_eq!((event.topic(), event.seq()), ("shop.eu", 1));
    ///
    /// // Later, and after a restart of this program:
    /// let stored = shop.positions();
    /// drop(shop);
    /// let shop = client.subscribe_pattern("shop.*", stored)?;
    /// # drop((shop, client));
    /// # server.shutdown();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Subscriber::open`]; [`Error::Invalid`] for an invalid pattern, or a position of a topic that does not match it.
    pub fn subscribe_pattern(
        &self,
        pattern: &str,
        start: impl Into<PatternStart>,
    ) -> Result<Subscription, Error> {
        self.subscriber().pattern(pattern, start).open()
    }

    /// A subscription with a `client_id` of its own, or with several topics.
    ///
    /// ```
    /// # let server = threadcast::Server::bind(threadcast::Config { port: 0, ..Default::default() })?;
    /// # let client = threadcast::client::Client::connect(&format!("ws://{}/ws", server.local_addr()))?;
    /// # client.create_topic("orders")?;
    /// # client.create_topic("payments")?;
    /// use threadcast::client::Start;
    ///
    /// let both = client
    ///     .subscriber()
    ///     .client_id("billing")
    ///     .topic("orders", Start::Now)
    ///     .topic("payments", Start::Last(5))
    ///     .open()?;
    /// assert_eq!(both.position("orders").map(|position| position.seq), Some(0));
    /// # drop((both, client));
    /// # server.shutdown();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subscriber(&self) -> Subscriber {
        Subscriber::new(Arc::clone(&self.inner.settings))
    }

    /// Host and port of the server that has answered last: where the next connection starts. Open connections stay with their
    /// server, even if this is another one.
    #[must_use]
    pub fn server(&self) -> String {
        let addresses = &self.inner.settings.addresses;
        addresses.at(addresses.working()).to_string()
    }

    fn publisher(&self) -> &Publisher {
        &self.inner.publisher
    }
}

fn checked(topic: &str) -> Result<TopicName, Error> {
    TopicName::new(topic).map_err(|invalid| Error::invalid(invalid.to_string()))
}

fn checked_pattern(pattern: &str) -> Result<TopicPattern, Error> {
    TopicPattern::new(pattern).map_err(|invalid| Error::invalid(invalid.to_string()))
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("servers", &self.inner.settings.addresses)
            .finish_non_exhaustive()
    }
}
