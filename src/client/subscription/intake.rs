//! From the texts of the server to what is handed out: whose they are, and whether they may come now.

use tungstenite::Utf8Bytes;

use super::{Ready, Subscription};
use crate::client::deliveries::Delivery;
use crate::client::event::Event;
use crate::client::followed::{Followed, Phase};
use crate::client::reconnect::Recovery;
use crate::client::wire::{self, Frame};
use crate::client::{End, Error};

impl Subscription {
    /// Takes one text of the server. At the opening every refusal is an error; later some pass.
    pub(super) fn take(&mut self, text: &Utf8Bytes, is_opening: bool) -> Result<(), Error> {
        match wire::parse(text)? {
            Frame::Event(frame) => {
                let topic = self.live(&frame.topic)?;
                let followed = &mut self.topics[topic];
                followed.cursor.on_event(frame.seq)?;
                let event = Event::new(&followed.name, text, &frame)?;
                self.deliver(topic, Delivery::Event(event));
            }
            Frame::Gap { topic, gap } => {
                let topic = self.live(&topic)?;
                self.topics[topic].cursor.on_gap(&gap)?;
                self.deliver(topic, Delivery::Gap(gap));
            }
            Frame::Ack(ack) => {
                let topic = self.asked(&ack.request_id)?;
                self.topics[topic].on_ack(&ack)?;
            }
            Frame::Refused {
                request_id,
                code,
                message,
            } => {
                let topic = self.asked(&request_id)?;
                let error = Error::refused(&code, &message);
                if is_opening {
                    return Err(error);
                }
                self.refuse(topic, error);
            }
            Frame::TopicDeleted(topic) => self.end_topic(&topic, End::TopicDeleted)?,
            Frame::SubscriptionReplaced(topic) => self.end_topic(&topic, End::Superseded)?,
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

    fn live(&self, name: &str) -> Result<usize, Error> {
        let is_it = |topic: &Followed| *topic.name == *name && matches!(topic.phase, Phase::Live);
        let index = self.topics.iter().position(is_it);
        index.ok_or_else(|| Error::protocol("news of a topic that is not subscribed"))
    }

    /// The topic that a request was about.
    fn asked(&self, request_id: &str) -> Result<usize, Error> {
        let index = request_id.split('.').next();
        let index: Option<usize> = index.and_then(|index| index.parse().ok());
        let is_asked =
            |topic: &Followed| matches!(topic.phase, Phase::Asked | Phase::Missing { .. });
        let index = index.filter(|index| self.topics.get(*index).is_some_and(is_asked));
        index.ok_or_else(|| Error::protocol("an answer to nothing that was asked"))
    }

    fn end_topic(&mut self, name: &str, end: End) -> Result<(), Error> {
        let topic = self.live(name)?;
        self.topics[topic].phase = Phase::Over;
        self.ready.push_back(Ready::Failed(Error::Ended {
            topic: name.to_owned(),
            end,
        }));
        Ok(())
    }

    /// The server did not take a topic back. Waits for it to be there again, or gives it up.
    fn refuse(&mut self, topic: usize, error: Error) {
        let may_pass = error.may_pass() || error.code() == Some("TOPIC_NOT_FOUND");
        let followed = &mut self.topics[topic];
        let mut recovery = match followed.phase {
            Phase::Missing { recovery, .. } => recovery,
            _ => Recovery::new(),
        };
        if may_pass && self.settings.reconnect.goes_on(recovery.since.elapsed()) {
            let again = recovery.next(self.settings.pauses);
            followed.phase = Phase::Missing { recovery, again };
        } else {
            followed.phase = Phase::Over;
            self.ready.push_back(Ready::Failed(error));
        }
    }
}
