//! The names of keys and channels in Redis. Those of a topic share the hash tag of its name.

use crate::protocol::TopicName;

#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

/// What a channel of a topic is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Its entries, deletion and new epochs.
    Entries,
    /// Who joins and leaves.
    Presence,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Keys {
        Keys {
            prefix: prefix.to_owned(),
        }
    }

    /// A text: where a topic is and its settings, see [`crate::broker::engine::redis::topics::records`].
    pub(super) fn topic(&self, topic: &TopicName) -> String {
        self.of_topic(topic, "topic")
    }

    /// A stream: the entries of a topic.
    pub(super) fn events(&self, topic: &TopicName) -> String {
        self.of_topic(topic, "events")
    }

    /// A list: places in the stream, each with the bytes before it.
    pub(super) fn marks(&self, topic: &TopicName) -> String {
        self.of_topic(topic, "marks")
    }

    /// A hash: the ids of the idempotent messages that the topic remembers, and what they became; and the epoch.
    pub(super) fn remembered(&self, topic: &TopicName) -> String {
        self.of_topic(topic, "ids")
    }

    /// A list: these ids, the oldest first.
    pub(super) fn remembered_order(&self, topic: &TopicName) -> String {
        self.of_topic(topic, "id-order")
    }

    /// A hash: the subscription of each client id.
    pub(super) fn owners(&self, topic: &TopicName) -> String {
        self.of_topic(topic, "owners")
    }

    /// A text, of a topic with an idle time: the seq that it had when it was last seen in use, and when that was.
    pub(super) fn used(&self, topic: &TopicName) -> String {
        self.of_topic(topic, "used")
    }

    /// The epoch and the newest seq of a topic that was deleted, for some time.
    pub(super) fn deleted(&self, topic: &TopicName) -> String {
        self.of_topic(topic, "deleted")
    }

    /// A stream: the entries of a topic that was deleted, for a moment.
    pub(super) fn last_events(&self, topic: &TopicName) -> String {
        self.of_topic(topic, "last")
    }

    /// The channel of a topic: its entries, deletion and new epochs.
    pub(super) fn channel(&self, topic: &TopicName) -> String {
        self.of_topic(topic, "channel")
    }

    /// The channel for who joins and leaves a topic.
    pub(super) fn presence_channel(&self, topic: &TopicName) -> String {
        self.of_topic(topic, "presence")
    }

    /// The topic of a channel, and what the channel is for.
    pub(super) fn of_channel(&self, channel: &str) -> Option<(TopicName, Purpose)> {
        let name = channel.strip_prefix(&self.prefix)?.strip_prefix(":{")?;
        let (name, what) = name.rsplit_once("}:")?;
        let purpose = match what {
            "channel" => Purpose::Entries,
            "presence" => Purpose::Presence,
            _ => return None,
        };
        Some((TopicName::new(name).ok()?, purpose))
    }

    /// A set: the names of all topics.
    pub(super) fn topics(&self) -> String {
        format!("{}:topics", self.prefix)
    }

    /// A sorted set: the names of the topics with an idle time, by when each may be idle.
    pub(super) fn idle(&self) -> String {
        format!("{}:idle", self.prefix)
    }

    /// A set: the ids of all nodes.
    pub(super) fn nodes(&self) -> String {
        format!("{}:nodes", self.prefix)
    }

    /// What a node says of itself; expires when the node dies.
    pub(super) fn node(&self, id: &str) -> String {
        format!("{}:node:{id}", self.prefix)
    }

    /// A set: the subscriptions of a node, as topic and client id.
    pub(super) fn owned(&self, id: &str) -> String {
        format!("{}:owned:{id}", self.prefix)
    }

    /// The channels of the nodes begin with this and end with the node's id.
    pub(super) fn node_channels(&self) -> String {
        format!("{}:to:", self.prefix)
    }

    /// The channel for messages to one node.
    pub(super) fn node_channel(&self, id: &str) -> String {
        format!("{}{id}", self.node_channels())
    }

    /// The channel for messages to all nodes: topics that appear, and patterns that begin.
    pub(super) fn news(&self) -> String {
        format!("{}:news", self.prefix)
    }

    /// A hash: the format of all this, and the name that this Redis got from the first node.
    pub(super) fn meta(&self) -> String {
        format!("{}:meta", self.prefix)
    }

    fn of_topic(&self, topic: &TopicName, what: &str) -> String {
        format!("{}:{{{topic}}}:{what}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_of_a_channel_is_found_again() {
        let keys = Keys::new("p");
        let topic = TopicName::new("a:b.c").unwrap();
        assert_eq!(keys.topic(&topic), "p:{a:b.c}:topic");
        let found = |channel: &str| keys.of_channel(channel);
        let entries = Some((topic.clone(), Purpose::Entries));
        assert_eq!(found(&keys.channel(&topic)), entries);
        let presence = Some((topic.clone(), Purpose::Presence));
        assert_eq!(found(&keys.presence_channel(&topic)), presence);
        for other in ["p:to:1", "q:{a}:channel", "p:{a}:topic", "p:{}:channel"] {
            assert_eq!(found(other), None, "{other}");
        }
    }
}
