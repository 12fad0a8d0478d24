//! The lists of all topics: of those in this process, or of those of the cluster.

use crate::broker::local_topics::SortedTopics;
use crate::broker::topic::TopicStats;
use crate::protocol::TopicName;

/// The names of all topics, sorted, and their numbers of subscribers.
pub(crate) enum TopicList {
    Local(SortedTopics),
    Shared(Vec<(TopicName, usize)>),
}

impl TopicList {
    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = (&TopicName, usize)> + '_> {
        match self {
            TopicList::Local(topics) => Box::new(
                topics
                    .iter()
                    .map(|topic| (topic.name(), topic.subscriber_count())),
            ),
            TopicList::Shared(topics) => {
                Box::new(topics.iter().map(|(name, count)| (name, *count)))
            }
        }
    }
}

/// The figures of all topics, by name.
pub(crate) enum StatsList {
    Local(SortedTopics),
    Shared(Vec<(TopicName, TopicStats)>),
}

impl StatsList {
    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = (&TopicName, TopicStats)> + '_> {
        match self {
            StatsList::Local(topics) => {
                Box::new(topics.iter().map(|topic| (topic.name(), topic.stats())))
            }
            StatsList::Shared(topics) => {
                Box::new(topics.iter().map(|(name, stats)| (name, stats.clone())))
            }
        }
    }
}
