//! Handles the frames of the server: finds their topic, and checks that they are valid in its phase.

use tungstenite::Utf8Bytes;

use super::{Ready, Subscription};
use crate::client::delivery::Delivery;
use crate::client::event::Event;
use crate::client::followed_topic::{FollowedTopic, Phase};
use crate::client::position::Position;
use crate::client::reconnect::RetryState;
use crate::client::wire::{self, Frame};
use crate::client::{EndReason, Error};

impl Subscription {
    /// Handles one text of the server. While the subscription opens, every refusal is an error; later some are retried. A
    /// temporary error means that the connection is of no use.
    pub(super) fn handle(&mut self, text: &Utf8Bytes, is_opening: bool) -> Result<(), Error> {
        match wire::parse(text)? {
            Frame::Event(frame) => {
                let Some(topic) = self.live(&frame.topic)? else {
                    return Ok(());
                };
                let followed = &mut self.topics[topic];
                followed.cursor.on_event(frame.seq)?;
                let event = Event::new(&followed.name, text, &frame)?;
                self.deliver(topic, Delivery::Event(event));
            }
            Frame::Gap { topic, gap, next } => {
                let Some(topic) = self.live(&topic)? else {
                    return Ok(());
                };
                let next = next.map(|next| Position {
                    seq: next.seq,
                    epoch: next.epoch.into(),
                });
                self.topics[topic].cursor.on_gap(&gap, next)?;
                self.deliver(topic, Delivery::Gap(gap));
            }
            Frame::Ack(ack) => {
                self.note_answer();
                if let Some(topic) = self.requested(&ack.request_id)? {
                    self.topics[topic].on_ack(&ack)?;
                }
            }
            Frame::Refused {
                request_id,
                code,
                message,
            } => {
                self.note_answer();
                let Some(topic) = self.requested(&request_id)? else {
                    return Ok(());
                };
                let error = Error::refused(&code, &message);
                if is_opening {
                    return Err(error);
                }
                return self.on_refused(topic, error);
            }
            Frame::TopicDeleted(topic) => self.on_topic_end(&topic, EndReason::TopicDeleted)?,
            Frame::SubscriptionReplaced(topic) if self.has_random_id => {
                // Replaced by a delayed request of its own, from a previous connection.
                if let Some(topic) = self.live(&topic)? {
                    self.topics[topic].phase = Phase::Idle;
                }
            }
            Frame::SubscriptionReplaced(topic) => {
                self.on_topic_end(&topic, EndReason::Superseded)?;
            }
            Frame::Other => {}
        }
        Ok(())
    }

    fn deliver(&mut self, topic: usize, delivery: Delivery) {
        let position = self.topics[topic].cursor.position();
        self.ready.push_back(Ready::Delivery {
            topic,
            delivery,
            position,
        });
    }

    /// The live topic of a frame; `None` if the caller has unsubscribed from it.
    fn live(&self, name: &str) -> Result<Option<usize>, Error> {
        let index = self.topics.iter().position(|topic| *topic.name == *name);
        self.expected(index, |phase| matches!(phase, Phase::Live))
            .ok_or_else(|| Error::protocol("a frame of a topic that is not subscribed"))
    }

    /// The topic of a request; `None` if the caller has unsubscribed from it.
    fn requested(&self, request_id: &str) -> Result<Option<usize>, Error> {
        let index = request_id.split('.').next();
        let index = index.and_then(|index| index.parse().ok());
        self.expected(index, |phase| matches!(phase, Phase::Subscribing { .. }))
            .ok_or_else(|| Error::protocol("an answer without a request"))
    }

    /// The topic if a frame is valid in its phase, `Some(None)` if the frame is ignored, `None` if it is invalid.
    fn expected(&self, index: Option<usize>, may: fn(&Phase) -> bool) -> Option<Option<usize>> {
        let index = index?;
        match &self.topics.get(index)?.phase {
            Phase::Unsubscribed => Some(None),
            phase => may(phase).then_some(Some(index)),
        }
    }

    fn on_topic_end(&mut self, name: &str, reason: EndReason) -> Result<(), Error> {
        let Some(topic) = self.live(name)? else {
            return Ok(());
        };
        self.topics[topic].phase = Phase::Ended;
        self.ready.push_back(Ready::Failed(Error::Ended {
            topic: name.to_owned(),
            reason,
        }));
        Ok(())
    }

    /// The server refused to subscribe to a topic after a reconnect. Retries, on this connection or on one to another server,
    /// or ends the topic.
    fn on_refused(&mut self, topic: usize, error: Error) -> Result<(), Error> {
        let is_retryable = error.is_temporary() || error.code() == Some("TOPIC_NOT_FOUND");
        let followed = &mut self.topics[topic];
        let mut retry = followed.attempts().unwrap_or_else(RetryState::new);
        if is_retryable
            && self
                .settings
                .reconnect
                .allows_attempt(retry.since.elapsed())
        {
            let again = retry.next(self.settings.backoff, 1);
            followed.phase = Phase::Missing { retry, again };
            if error.is_temporary() && self.is_of_no_use() {
                return Err(error);
            }
        } else {
            followed.phase = Phase::Ended;
            self.ready.push_back(Ready::Failed(error));
        }
        Ok(())
    }

    /// Whether another server may serve the topics, while this one serves none.
    fn is_of_no_use(&self) -> bool {
        let is_served =
            |topic: &FollowedTopic| matches!(topic.phase, Phase::Live | Phase::Subscribing { .. });
        self.settings.addresses.count() > 1 && !self.topics.iter().any(is_served)
    }
}
