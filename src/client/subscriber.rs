//! What a subscription will be about, before it is opened.

use std::sync::Arc;

use super::followed::Followed;
use super::settings::Settings;
use super::{Error, Start, Subscription, checked};
use crate::protocol::ClientId;

/// A subscription to be; made by [`Client::subscriber`](super::Client::subscriber).
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

    /// One more topic, and where to start in it.
    pub fn topic(mut self, name: &str, start: impl Into<Start>) -> Subscriber {
        self.topics.push((name.to_owned(), start.into()));
        self
    }

    /// The name of this subscriber, 1 to 128 characters, unique in each of its topics: whoever comes later with the
    /// same one takes over. Without it, a random one.
    pub fn client_id(mut self, id: &str) -> Subscriber {
        self.client_id = Some(id.to_owned());
        self
    }

    /// Connects and subscribes.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no topic, one twice or a wrong name; [`Error::Refused`] when the server does not
    /// take one of the topics; [`Error::Connect`], [`Error::Timeout`] or [`Error::Lost`] when it is not there. The first
    /// attempt is the only one: the [`Reconnect`](super::Reconnect) policy is about connections that were there.
    pub fn open(self) -> Result<Subscription, Error> {
        if self.topics.is_empty() {
            return Err(Error::invalid("topic: at least one is needed"));
        }
        let mut topics: Vec<Followed> = Vec::new();
        for (name, start) in self.topics {
            let name = checked(&name)?;
            if topics.iter().any(|topic| *topic.name == *name.as_str()) {
                return Err(Error::invalid(format!("topic: '{name}' stands twice")));
            }
            topics.push(Followed::new(name.as_str(), start));
        }
        let client_id = self.client_id.as_deref().map(ClientId::new);
        let client_id = client_id
            .transpose()
            .map_err(|invalid| Error::invalid(invalid.to_string()))?;
        Subscription::open(self.settings, client_id, topics)
    }
}
