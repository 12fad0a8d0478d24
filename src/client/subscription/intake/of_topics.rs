//! Frames of topics that are subscribed to by name.

use crate::client::delivery::Delivery;
use crate::client::event::Event;
use crate::client::followed_topic::FollowedTopic;
use crate::client::phase::Phase;
use crate::client::subscription::{Followed, Ready, Subscription};
use crate::client::wire::Frame;
use crate::client::{EndReason, Error};

impl Subscription {
    pub(super) fn handle_of_topics(&mut self, frame: Frame<'_>, text: &str) -> Result<(), Error> {
        match frame {
            Frame::Event(frame) => {
                let Some((topic, followed)) = self.live(&frame.topic)? else {
                    return Ok(());
                };
                followed.cursor.on_event(frame.seq)?;
                let event = Event::new(&followed.name, text, &frame)?;
                self.deliver(topic, Delivery::Event(event));
            }
            Frame::Gap { topic, gap, next } => {
                let Some((topic, followed)) = self.live(&topic)? else {
                    return Ok(());
                };
                followed.cursor.on_gap(&gap, next.map(Into::into))?;
                self.deliver(topic, Delivery::Gap(gap));
            }
            Frame::Presence(presence) => {
                if let Some((topic, _)) = self.live(presence.topic())? {
                    self.deliver(topic, Delivery::Presence(presence));
                }
            }
            Frame::Ack(ack) => {
                self.note_answer();
                if let Some(index) = self.requested(&ack.request_id)?
                    && let Followed::Topics(topics) = &mut self.followed
                {
                    topics[index].on_ack(&ack)?;
                }
            }
            Frame::TopicDeleted(topic) => self.on_topic_end(&topic, EndReason::TopicDeleted)?,
            Frame::SubscriptionReplaced(topic) if self.has_random_id => {
                // Replaced by a delayed request of its own, from a previous connection.
                if let Some((_, followed)) = self.live(&topic)? {
                    followed.phase = Phase::Idle;
                }
            }
            Frame::SubscriptionReplaced(topic) => {
                self.on_topic_end(&topic, EndReason::Superseded)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn deliver(&mut self, topic: usize, delivery: Delivery) {
        let Followed::Topics(topics) = &self.followed else {
            return;
        };
        let position = topics[topic].cursor.position();
        self.ready.push_back(Ready::Delivery {
            topic,
            delivery,
            position,
        });
    }

    /// The live topic of a frame, and its index; `None` if the caller has unsubscribed from it.
    fn live(&mut self, name: &str) -> Result<Option<(usize, &mut FollowedTopic)>, Error> {
        let Followed::Topics(topics) = &mut self.followed else {
            return Ok(None);
        };
        let mut topics = topics.iter_mut().enumerate();
        match topics.find(|(_, topic)| *topic.name == *name) {
            Some((_, topic)) if matches!(topic.phase, Phase::Unsubscribed) => Ok(None),
            Some((index, topic)) if matches!(topic.phase, Phase::Live) => Ok(Some((index, topic))),
            _ => Err(Error::protocol("a frame of a topic that is not subscribed")),
        }
    }

    fn on_topic_end(&mut self, name: &str, reason: EndReason) -> Result<(), Error> {
        let Some((_, followed)) = self.live(name)? else {
            return Ok(());
        };
        followed.phase = Phase::Ended;
        self.ready.push_back(Ready::Failed(Error::Ended {
            topic: name.to_owned(),
            reason,
        }));
        Ok(())
    }
}
