//! Deliveries of a subscription, and the iterators over them.

use super::{Error, Event, Gap, Presence, Subscription, TopicChange};

/// An event or a gap, what has happened to a topic of a pattern, or who is subscribed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Delivery {
    /// An event. Its `seq` follows that of the previous delivery of its topic.
    Event(Event),
    /// A range of events that will not be delivered, in their place in the order.
    Gap(Gap),
    /// Only of a pattern: a topic has joined, was deleted, or could not join.
    Topic(TopicChange),
    /// Only with [`presence`](super::Subscriber::presence): who is subscribed to a topic, or who came and left.
    Presence(Presence),
}

impl Delivery {
    /// The topic; `None` for a change of several topics.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        match self {
            Delivery::Event(event) => Some(event.topic()),
            Delivery::Gap(gap) => Some(gap.topic()),
            Delivery::Topic(change) => change.topic(),
            Delivery::Presence(presence) => Some(presence.topic()),
        }
    }
}

/// Iterates over the deliveries of a [`Subscription`]. Errors are items too. The iteration ends after the error that ends
/// the subscription.
#[derive(Debug)]
pub struct Deliveries<'a> {
    pub(super) subscription: &'a mut Subscription,
}

impl Iterator for Deliveries<'_> {
    type Item = Result<Delivery, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        next(self.subscription)
    }
}

/// [`Deliveries`] that own their [`Subscription`].
#[derive(Debug)]
pub struct IntoDeliveries {
    subscription: Subscription,
}

impl Iterator for IntoDeliveries {
    type Item = Result<Delivery, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        next(&mut self.subscription)
    }
}

fn next(subscription: &mut Subscription) -> Option<Result<Delivery, Error>> {
    if subscription.is_over() {
        return None;
    }
    match subscription.recv() {
        Err(Error::Closed) => None,
        delivery => Some(delivery),
    }
}

impl IntoIterator for Subscription {
    type Item = Result<Delivery, Error>;
    type IntoIter = IntoDeliveries;

    fn into_iter(self) -> IntoDeliveries {
        IntoDeliveries { subscription: self }
    }
}

impl<'a> IntoIterator for &'a mut Subscription {
    type Item = Result<Delivery, Error>;
    type IntoIter = Deliveries<'a>;

    fn into_iter(self) -> Deliveries<'a> {
        self.iter()
    }
}
