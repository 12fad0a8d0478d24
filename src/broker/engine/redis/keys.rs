//! The names of keys and channels in Redis. Those of a topic share the hash tag of its name.

use crate::protocol::TopicName;

#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Keys {
        Keys {
            prefix: prefix.to_owned(),
        }
    }

    /// A hash: the options of a topic, its epoch, newest seq, token and time, and what its stream holds.
    pub(super) fn topic(&self, topic: &TopicName) -> String {
        self.of_topic(topic, "topic")
    }

    /// A stream: the entries of a topic.
    pub(super) fn events(&self, topic: &TopicName) -> String {
        self.of_topic(topic, "events")
    }

    /// A list: events and bytes of each entry in the stream.
    pub(super) fn sizes(&self, topic: &TopicName) -> String {
        self.of_topic(topic, "sizes")
    }

    /// A hash: the subscription of each client id.
    pub(super) fn owners(&self, topic: &TopicName) -> String {
        self.of_topic(topic, "owners")
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

    /// The topic of a channel.
    pub(super) fn topic_of_channel(&self, channel: &str) -> Option<TopicName> {
        let name = channel.strip_prefix(&self.prefix)?.strip_prefix(":{")?;
        TopicName::new(name.strip_suffix("}:channel")?).ok()
    }

    /// A set: the names of all topics.
    pub(super) fn topics(&self) -> String {
        format!("{}:topics", self.prefix)
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
        assert_eq!(keys.topic_of_channel(&keys.channel(&topic)), Some(topic));
        for other in ["p:to:1", "q:{a}:channel", "p:{a}:topic", "p:{}:channel"] {
            assert_eq!(keys.topic_of_channel(other), None, "{other}");
        }
    }
}
