//! The pattern of a subscription: its phase, and the position of each topic that matches.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pattern_start::{PatternStart, Positions};
use super::phase::Phase;
use super::position::{Cursor, Position, Start, StartAck};
use super::topic_change::TopicChange;
use super::wire::{Subscribe, SubscriberFields};
use super::{Delivery, EndReason, Error, Gap, checked};
use crate::protocol::TopicPattern;

#[derive(Debug, Clone)]
pub(super) struct FollowedPattern {
    pattern: TopicPattern,
    /// How many events of each topic the first subscribe replays.
    last_n: u64,
    /// Whether the next subscribe resumes by positions. After the first ack it does: what the caller has no position of is then
    /// replayed from its beginning, which may be more than was asked for, but misses nothing.
    has_begun: bool,
    topics: BTreeMap<String, MatchedTopic>,
    /// The positions after the last delivery that the caller has received. Behind those of `topics` by the deliveries in the
    /// queue.
    pub(super) delivered: Positions,
    pub(super) phase: Phase,
}

#[derive(Debug, Clone)]
struct MatchedTopic {
    name: Arc<str>,
    cursor: Cursor,
    /// Whether the server sends its events on this connection.
    is_live: bool,
}

/// The name and the new position of a topic; `None` if a frame is ignored.
type Advanced = Option<(Arc<str>, Option<Position>)>;

impl MatchedTopic {
    fn new(name: &str, cursor: Cursor, is_live: bool) -> MatchedTopic {
        let name = name.into();
        MatchedTopic {
            name,
            cursor,
            is_live,
        }
    }
}

impl FollowedPattern {
    /// # Errors
    /// [`Error::Invalid`] for a position of a topic that does not match.
    pub(super) fn new(
        pattern: TopicPattern,
        start: PatternStart,
    ) -> Result<FollowedPattern, Error> {
        let (last_n, delivered) = match start {
            PatternStart::Now => (0, None),
            PatternStart::Last(n) => (n, None),
            PatternStart::After(positions) => (0, Some(positions)),
        };
        let has_begun = delivered.is_some();
        let delivered = delivered.unwrap_or_default();
        let mut topics = BTreeMap::new();
        for (name, position) in &delivered {
            if !pattern.matches(checked(name)?.as_str()) {
                let reason = format!("positions: '{name}' does not match '{pattern}'");
                return Err(Error::invalid(reason));
            }
            let cursor = Cursor::after(position.clone());
            topics.insert(name.clone(), MatchedTopic::new(name, cursor, false));
        }
        Ok(FollowedPattern {
            pattern,
            last_n,
            has_begun,
            topics,
            delivered,
            phase: Phase::Idle,
        })
    }

    pub(super) fn is(&self, pattern: &str) -> bool {
        self.pattern.as_str() == pattern
    }

    /// The topics that the server was subscribed to, or is.
    pub(super) fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(String::as_str)
    }

    /// The text of the subscribe request.
    pub(super) fn subscribe_request(
        &self,
        subscriber: SubscriberFields<'_>,
    ) -> Result<String, Error> {
        let positions = self.topics.iter().filter_map(|(name, topic)| {
            let position = topic.cursor.position()?;
            Some((name.as_str(), position))
        });
        serde_json::to_string(&Subscribe {
            r#type: "subscribe",
            topic: self.pattern.as_str(),
            subscriber,
            last_n: (!self.has_begun).then_some(self.last_n),
            after_seq: None,
            epoch: None,
            positions: self.has_begun.then(|| positions.collect()),
        })
        .map_err(Error::Payload)
    }

    pub(super) fn on_ack(&mut self) {
        self.phase = Phase::Live;
        self.has_begun = true;
        self.end_topics();
    }

    /// The connection was lost, or another one has taken the pattern over: no topic is live.
    pub(super) fn end_topics(&mut self) {
        let topics = self.topics.values_mut();
        topics.for_each(|topic| topic.is_live = false);
    }

    /// A topic joins, or goes on at its position. Returns what the caller does not know yet.
    pub(super) fn on_subscribed(
        &mut self,
        name: &str,
        ack: &StartAck<'_>,
    ) -> Result<Vec<TopicChange>, Error> {
        if self.is_stale() {
            return Ok(Vec::new());
        }
        if !self.pattern.matches(name) {
            return Err(Error::protocol("a topic that does not match the pattern"));
        }
        let mut changes = Vec::new();
        if let Some(topic) = self.topics.get_mut(name) {
            if topic.is_live {
                return Err(Error::protocol("a topic that has joined already"));
            }
            if ack.recovered.is_some() {
                topic.is_live = true;
                topic.cursor.on_ack(ack)?;
                return Ok(changes);
            }
            // Deleted and created again before it was subscribed to.
            changes.extend(self.forget(name));
        }
        let mut cursor = Cursor::Fresh(self.start_of_new(ack));
        cursor.on_ack(ack)?;
        changes.extend(cursor.position().map(|position| TopicChange::Joined {
            topic: name.to_owned(),
            position,
        }));
        let topic = MatchedTopic::new(name, cursor, true);
        self.topics.insert(name.to_owned(), topic);
        Ok(changes)
    }

    /// Where a topic without a position starts: in a resume at the beginning of its history.
    fn start_of_new(&self, ack: &StartAck<'_>) -> Start {
        match ack.recovered {
            Some(_) => Start::After {
                seq: 0,
                epoch: None,
            },
            None => Start::Last(self.last_n),
        }
    }

    pub(super) fn on_event(&mut self, name: &str, seq: u64) -> Result<Advanced, Error> {
        self.advance(name, |cursor| cursor.on_event(seq))
    }

    pub(super) fn on_gap(&mut self, gap: &Gap, next: Option<Position>) -> Result<Advanced, Error> {
        self.advance(gap.topic(), |cursor| cursor.on_gap(gap, next))
    }

    /// A frame of a topic that does not move its position.
    pub(super) fn on_presence(&mut self, name: &str) -> Result<Advanced, Error> {
        self.advance(name, |_| Ok(()))
    }

    fn advance(
        &mut self,
        name: &str,
        step: impl FnOnce(&mut Cursor) -> Result<(), Error>,
    ) -> Result<Advanced, Error> {
        if self.is_stale() {
            return Ok(None);
        }
        let topic = self.topics.get_mut(name).filter(|topic| topic.is_live);
        let topic =
            topic.ok_or_else(|| Error::protocol("a frame of a topic that has not joined"))?;
        step(&mut topic.cursor)?;
        Ok(Some((Arc::clone(&topic.name), topic.cursor.position())))
    }

    /// A topic was deleted. `None` if the caller does not know it: the subscribe had found it.
    pub(super) fn on_deleted(&mut self, name: &str) -> Option<TopicChange> {
        if self.is_stale() {
            return None;
        }
        self.forget(name)
    }

    fn forget(&mut self, name: &str) -> Option<TopicChange> {
        let topic = name.to_owned();
        self.topics
            .remove(name)
            .map(|_| TopicChange::Deleted { topic })
    }

    /// Another subscriber has taken over a topic. It has taken over the pattern if there is no topic left.
    pub(super) fn on_replaced(&mut self, name: &str) -> Option<Error> {
        if self.is_stale() {
            return None;
        }
        let topic = self.topics.get_mut(name)?;
        topic.is_live = false;
        if !self.topics.values().any(|topic| topic.is_live) {
            self.phase = Phase::Ended;
        }
        Some(Error::Ended {
            topic: name.to_owned(),
            reason: EndReason::Superseded,
        })
    }

    /// Whether frames of topics are ignored: they come from before the subscribe that is not answered yet, or the caller has
    /// unsubscribed.
    fn is_stale(&self) -> bool {
        !matches!(self.phase, Phase::Live)
    }

    /// The caller has received a delivery.
    pub(super) fn on_delivered(&mut self, delivery: &Delivery, position: Option<Position>) {
        if let Delivery::Topic(TopicChange::Deleted { topic }) = delivery {
            self.delivered.remove(topic);
        }
        let (Some(name), Some(position)) = (delivery.topic(), position) else {
            return;
        };
        match self.delivered.get_mut(name) {
            Some(delivered) => *delivered = position,
            None => drop(self.delivered.insert(name.to_owned(), position)),
        }
    }
}

#[cfg(test)]
mod tests;
