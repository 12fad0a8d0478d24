//! From the texts of the server to what is handed out: whose they are, and whether they may come now.

use tungstenite::Utf8Bytes;

use super::{Ready, Subscription};
use crate::client::deliveries::Delivery;
use crate::client::event::Event;
use crate::client::followed::Phase;
use crate::client::reconnect::Recovery;
use crate::client::wire::{self, Frame};
use crate::client::{End, Error};

impl Subscription {
    /// Takes one text of the server. At the opening every refusal is an error; later some pass.
    pub(super) fn take(&mut self, text: &Utf8Bytes, is_opening: bool) -> Result<(), Error> {
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
            Frame::Gap { topic, gap } => {
                let Some(topic) = self.live(&topic)? else {
                    return Ok(());
                };
                self.topics[topic].cursor.on_gap(&gap)?;
                self.deliver(topic, Delivery::Gap(gap));
            }
            Frame::Ack(ack) => {
                self.note_answer();
                if let Some(topic) = self.asked(&ack.request_id)? {
                    self.topics[topic].on_ack(&ack)?;
                }
            }
            Frame::Refused {
                request_id,
                code,
                message,
            } => {
                self.note_answer();
                let Some(topic) = self.asked(&request_id)? else {
                    return Ok(());
                };
                let error = Error::refused(&code, &message);
                if is_opening {
                    return Err(error);
                }
                self.refuse(topic, error);
            }
            Frame::TopicDeleted(topic) => self.end_topic(&topic, End::TopicDeleted)?,
            Frame::SubscriptionReplaced(topic) if self.has_random_name => {
                // By a request of its own that was on its way for long, on a connection that is no more.
                if let Some(topic) = self.live(&topic)? {
                    self.topics[topic].phase = Phase::Idle;
                }
            }
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

    /// The topic that news is of; `None` if the caller has left it.
    fn live(&self, name: &str) -> Result<Option<usize>, Error> {
        let index = self.topics.iter().position(|topic| *topic.name == *name);
        self.expected(index, |phase| matches!(phase, Phase::Live))
            .ok_or_else(|| Error::protocol("news of a topic that is not subscribed"))
    }

    /// The topic that a request was about; `None` if the caller has left it.
    fn asked(&self, request_id: &str) -> Result<Option<usize>, Error> {
        let index = request_id.split('.').next();
        let index = index.and_then(|index| index.parse().ok());
        self.expected(index, |phase| matches!(phase, Phase::Asked { .. }))
            .ok_or_else(|| Error::protocol("an answer to nothing that was asked"))
    }

    /// A topic of which something came: itself if that may come in its phase, `Some(None)` if it is passed over.
    fn expected(&self, index: Option<usize>, may: fn(&Phase) -> bool) -> Option<Option<usize>> {
        let index = index?;
        match &self.topics.get(index)?.phase {
            Phase::Left => Some(None),
            phase => may(phase).then_some(Some(index)),
        }
    }

    fn end_topic(&mut self, name: &str, end: End) -> Result<(), Error> {
        let Some(topic) = self.live(name)? else {
            return Ok(());
        };
        self.topics[topic].phase = Phase::Over;
        self.ready.push_back(Ready::Failed(Error::Ended {
            topic: name.to_owned(),
            end,
        }));
        Ok(())
    }

    /// The server did not take a topic back. Waits for it to be there again, or gives it up.
    fn refuse(&mut self, topic: usize, error: Error) {
        let may_pass = error.is_temporary() || error.code() == Some("TOPIC_NOT_FOUND");
        let followed = &mut self.topics[topic];
        let mut recovery = followed.attempts().unwrap_or_else(Recovery::new);
        if may_pass && self.settings.reconnect.goes_on(recovery.since.elapsed()) {
            let again = recovery.next(self.settings.pauses);
            followed.phase = Phase::Missing { recovery, again };
        } else {
            followed.phase = Phase::Over;
            self.ready.push_back(Ready::Failed(error));
        }
    }
}
