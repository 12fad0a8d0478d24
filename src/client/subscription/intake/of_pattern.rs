//! Frames of a pattern and its topics.

use crate::client::Error;
use crate::client::delivery::Delivery;
use crate::client::event::Event;
use crate::client::phase::Phase;
use crate::client::position::{Position, StartAck};
use crate::client::subscription::{Followed, Ready, Subscription};
use crate::client::topic_change::TopicChange;
use crate::client::wire::Frame;

impl Subscription {
    pub(super) fn handle_of_pattern(&mut self, frame: Frame<'_>, text: &str) -> Result<(), Error> {
        if let Frame::PatternAck { request_id } = &frame {
            self.note_answer();
            if self.requested(request_id)?.is_none() {
                return Ok(());
            }
        }
        let has_random_id = self.has_random_id;
        let Followed::Pattern(pattern) = &mut self.followed else {
            return Ok(());
        };
        match frame {
            Frame::PatternAck { .. } => pattern.on_ack(),
            Frame::Subscribed {
                topic,
                seq,
                epoch,
                recovered,
            } => {
                let ack = StartAck {
                    seq,
                    epoch: &epoch,
                    recovered,
                };
                let changes = pattern.on_subscribed(&topic, &ack)?;
                changes
                    .into_iter()
                    .for_each(|change| self.deliver_change(change));
            }
            Frame::Event(frame) => {
                if let Some((name, position)) = pattern.on_event(&frame.topic, frame.seq)? {
                    let event = Event::new(&name, text, &frame)?;
                    self.deliver_matched(Delivery::Event(event), position);
                }
            }
            Frame::Gap { gap, next, .. } => {
                if let Some((_, position)) = pattern.on_gap(&gap, next.map(Into::into))? {
                    self.deliver_matched(Delivery::Gap(gap), position);
                }
            }
            Frame::Presence(presence) => {
                if let Some((_, position)) = pattern.on_presence(presence.topic())? {
                    self.deliver_matched(Delivery::Presence(presence), position);
                }
            }
            Frame::TopicDeleted(topic) => {
                if let Some(change) = pattern.on_deleted(&topic) {
                    self.deliver_change(change);
                }
            }
            Frame::NotJoined {
                topic,
                count,
                reason,
            } => self.deliver_change(TopicChange::NotJoined {
                topic: topic.map(Into::into),
                count,
                reason,
            }),
            Frame::SubscriptionReplaced(_) if has_random_id => {
                // Replaced by a delayed request of its own, from a previous connection.
                pattern.phase = Phase::Idle;
                pattern.end_topics();
            }
            Frame::SubscriptionReplaced(topic) => {
                let ended = pattern.on_replaced(&topic).map(Ready::Failed);
                self.ready.extend(ended);
            }
            _ => {}
        }
        Ok(())
    }

    fn deliver_change(&mut self, change: TopicChange) {
        let position = match &change {
            TopicChange::Joined { position, .. } => Some(position.clone()),
            TopicChange::Deleted { .. } | TopicChange::NotJoined { .. } => None,
        };
        self.deliver_matched(Delivery::Topic(change), position);
    }

    fn deliver_matched(&mut self, delivery: Delivery, position: Option<Position>) {
        self.ready.push_back(Ready::Matched { delivery, position });
    }
}
