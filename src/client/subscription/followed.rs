//! What a subscription follows: topics by name, or one pattern.

use crate::client::followed_pattern::FollowedPattern;
use crate::client::followed_topic::FollowedTopic;
use crate::client::phase::Phase;
use crate::client::wire::SubscriberFields;
use crate::client::{Error, Position, Positions};

#[derive(Debug, Clone)]
pub(in crate::client) enum Followed {
    /// Never empty.
    Topics(Vec<FollowedTopic>),
    Pattern(FollowedPattern),
}

impl Followed {
    /// The phase of each subscribe, by its index.
    pub(super) fn phases(&self) -> impl Iterator<Item = &Phase> {
        let (topics, pattern) = match self {
            Followed::Topics(topics) => (&topics[..], None),
            Followed::Pattern(pattern) => (&[][..], Some(&pattern.phase)),
        };
        topics.iter().map(|topic| &topic.phase).chain(pattern)
    }

    pub(super) fn phases_mut(&mut self) -> impl Iterator<Item = &mut Phase> {
        let (topics, pattern) = match self {
            Followed::Topics(topics) => (&mut topics[..], None),
            Followed::Pattern(pattern) => (&mut [][..], Some(&mut pattern.phase)),
        };
        let topics = topics.iter_mut().map(|topic| &mut topic.phase);
        topics.chain(pattern)
    }

    pub(super) fn subscribe_request(
        &self,
        index: usize,
        subscriber: SubscriberFields<'_>,
    ) -> Result<String, Error> {
        match self {
            Followed::Topics(topics) => topics[index].subscribe_request(subscriber),
            Followed::Pattern(pattern) => pattern.subscribe_request(subscriber),
        }
    }

    pub(super) fn on_disconnect(&mut self) {
        self.phases_mut().for_each(Phase::on_disconnect);
        if let Followed::Pattern(pattern) = self {
            pattern.end_topics();
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.phases().all(Phase::has_ended)
    }

    /// The topics that have not ended.
    pub(super) fn topics(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Followed::Topics(topics) => {
                let active = topics.iter().filter(|topic| !topic.phase.has_ended());
                Box::new(active.map(|topic| &*topic.name))
            }
            Followed::Pattern(pattern) => Box::new(pattern.topics()),
        }
    }

    /// The position in a topic after the last delivery that the caller has received.
    pub(super) fn position(&self, topic: &str) -> Option<Position> {
        match self {
            Followed::Topics(topics) => {
                let followed = topics.iter().find(|followed| *followed.name == *topic);
                followed?.delivered.clone()
            }
            Followed::Pattern(pattern) => pattern.delivered.get(topic).cloned(),
        }
    }

    /// All positions.
    pub(super) fn positions(&self) -> Positions {
        match self {
            Followed::Topics(topics) => {
                let position = |topic: &FollowedTopic| {
                    Some((topic.name.to_string(), topic.delivered.clone()?))
                };
                topics.iter().filter_map(position).collect()
            }
            Followed::Pattern(pattern) => pattern.delivered.clone(),
        }
    }
}
