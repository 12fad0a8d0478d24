//! The builder of a subscription.

use std::sync::Arc;

use super::followed_topic::FollowedTopic;
use super::settings::Settings;
use super::{Error, Start, Subscription, checked};
use crate::protocol::ClientId;

/// Builds a subscription; made by [`Client::subscriber`](super::Client::subscriber).
#[derive(Debug, Clone)]
#[must_use = "nothing is subscribed before open()"]
pub struct Subscriber {
    settings: Arc<Settings>,
    client_id: Option<String>,
    topics: Vec<(String, Start)>,
}

impl Subscriber {
    pub(super) fn new(settings: Arc<Settings>) -> Subscriber {
        Subscriber {
            settings,
            client_id: None,
            topics: Vec::new(),
        }
    }

    /// Adds a topic, and where to start in it.
    pub fn topic(mut self, name: &str, start: impl Into<Start>) -> Subscriber {
        self.topics.push((name.to_owned(), start.into()));
        self
    }

    /// The name of this subscriber: 1 to 128 characters, unique in each of its topics. A later subscriber with the same
    /// name replaces this one. Default: a random name.
    pub fn client_id(mut self, id: &str) -> Subscriber {
        self.client_id = Some(id.to_owned());
        self
    }

    /// Connects and subscribes.
    ///
    /// # Errors
    /// [`Error::Invalid`] without a topic, for a repeated topic or an invalid name; [`Error::Refused`] if the server refuses
    /// one of the topics; [`Error::Connect`], [`Error::Timeout`] or [`Error::Lost`] if it is not reachable,
    /// [`Error::NoServer`] if none of several is. There is only one attempt at each server: the
    /// [`Reconnect`](super::Reconnect) policy applies to established connections.
    pub fn open(self) -> Result<Subscription, Error> {
        if self.topics.is_empty() {
            return Err(Error::invalid("topic: at least one is needed"));
        }
        let mut topics: Vec<FollowedTopic> = Vec::new();
        for (name, start) in self.topics {
            let name = checked(&name)?;
            if topics.iter().any(|topic| *topic.name == *name.as_str()) {
                return Err(Error::invalid(format!("topic: '{name}' is repeated")));
            }
            topics.push(FollowedTopic::new(name.as_str(), start));
        }
        let client_id = self.client_id.as_deref().map(ClientId::new);
        let client_id = client_id
            .transpose()
            .map_err(|invalid| Error::invalid(invalid.to_string()))?;
        Subscription::open(&self.settings, client_id, &topics)
    }
}
