//! The builder of a subscription.

use std::sync::Arc;

use super::followed_pattern::FollowedPattern;
use super::followed_topic::FollowedTopic;
use super::settings::Settings;
use super::subscription::Followed;
use super::{Error, PatternStart, Start, Subscription, checked, checked_pattern};
use crate::protocol::ClientId;

/// Builds a subscription; made by [`Client::subscriber`](super::Client::subscriber).
#[derive(Debug, Clone)]
#[must_use = "nothing is subscribed before open()"]
pub struct Subscriber {
    settings: Arc<Settings>,
    client_id: Option<String>,
    presence: bool,
    topics: Vec<(String, Start)>,
    patterns: Vec<(String, PatternStart)>,
}

impl Subscriber {
    pub(super) fn new(settings: Arc<Settings>) -> Subscriber {
        Subscriber {
            settings,
            client_id: None,
            presence: false,
            topics: Vec::new(),
            patterns: Vec::new(),
        }
    }

    /// Adds a topic, and where to start in it.
    pub fn topic(mut self, name: &str, start: impl Into<Start>) -> Subscriber {
        self.topics.push((name.to_owned(), start.into()));
        self
    }

    /// Adds all topics that match a pattern, such as `shop.*`: 1 to 128 characters of the names of topics and one to four `*`, each
    /// of which stands for any run of characters. A subscription to a pattern has nothing else.
    pub fn pattern(mut self, pattern: &str, start: impl Into<PatternStart>) -> Subscriber {
        self.patterns.push((pattern.to_owned(), start.into()));
        self
    }

    /// The name of this subscriber: 1 to 128 characters, unique in each of its topics. A later subscriber with the same
    /// name replaces this one. Default: a random name.
    pub fn client_id(mut self, id: &str) -> Subscriber {
        self.client_id = Some(id.to_owned());
        self
    }

    /// Whether to hear who is subscribed to each topic: first the whole list, then who came and left, each as a
    /// [`Delivery::Presence`](super::Delivery::Presence). The server collects changes for 250 ms. After a reconnect the list
    /// comes again. A server that is older than this feature sends nothing of it.
    ///
    /// ```
    /// # let server = threadcast::Server::bind(threadcast::Config { port: 0, ..Default::default() })?;
    /// # let client = threadcast::client::Client::connect(&format!("ws://{}/ws", server.local_addr()))?;
    /// # client.create_topic("chat")?;
    /// use std::collections::BTreeSet;
    /// use threadcast::client::{Delivery, Start};
    ///
    /// let ann = client.subscriber().client_id("ann").topic("chat", Start::Now);
    /// let mut ann = ann.presence(true).open()?;
    /// let bob = client.subscriber().client_id("bob").topic("chat", Start::Now).open()?;
    ///
    /// let mut subscribers = BTreeSet::new();
    /// while subscribers.len() < 2 {
    ///     if let Delivery::Presence(presence) = ann.recv()? {
    ///         presence.apply_to(&mut subscribers);
    ///         assert_eq!(presence.total(), subscribers.len() as u64);
    ///     }
    /// }
    /// assert!(subscribers.contains("ann") && subscribers.contains("bob"));
    /// # drop((ann, bob, client));
    /// # server.shutdown();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn presence(mut self, presence: bool) -> Subscriber {
        self.presence = presence;
        self
    }

    /// Connects and subscribes.
    ///
    /// # Errors
    /// [`Error::Invalid`] without a topic, for a repeated topic or an invalid name, for a pattern that is not alone; [`Error::Refused`] if the server refuses
    /// one of the topics; [`Error::Connect`], [`Error::Timeout`] or [`Error::Lost`] if it is not reachable,
    /// [`Error::NoServer`] if none of several is. There is only one attempt at each server: the
    /// [`Reconnect`](super::Reconnect) policy applies to established connections.
    pub fn open(self) -> Result<Subscription, Error> {
        let client_id = self.client_id.as_deref().map(ClientId::new);
        let client_id = client_id
            .transpose()
            .map_err(|invalid| Error::invalid(invalid.to_string()))?;
        let followed = match self.patterns.is_empty() {
            true => Followed::Topics(followed_topics(self.topics)?),
            false => Followed::Pattern(followed_pattern(self.patterns, &self.topics)?),
        };
        Subscription::open(&self.settings, client_id, self.presence, &followed)
    }
}

fn followed_topics(named: Vec<(String, Start)>) -> Result<Vec<FollowedTopic>, Error> {
    if named.is_empty() {
        return Err(Error::invalid("topic: at least one is needed"));
    }
    let mut topics: Vec<FollowedTopic> = Vec::new();
    for (name, start) in named {
        let name = checked(&name)?;
        if topics.iter().any(|topic| *topic.name == *name.as_str()) {
            return Err(Error::invalid(format!("topic: '{name}' is repeated")));
        }
        topics.push(FollowedTopic::new(name.as_str(), start));
    }
    Ok(topics)
}

/// Topics and patterns of one subscriber would take topics over from one another.
fn followed_pattern(
    patterns: Vec<(String, PatternStart)>,
    topics: &[(String, Start)],
) -> Result<FollowedPattern, Error> {
    let mut patterns = patterns.into_iter();
    match (patterns.next(), patterns.next(), topics) {
        (Some((pattern, start)), None, []) => {
            FollowedPattern::new(checked_pattern(&pattern)?, start)
        }
        _ => Err(Error::invalid(
            "pattern: a subscription to a pattern has no other topic or pattern",
        )),
    }
}
