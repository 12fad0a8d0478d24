//! What a subscription delivers, one by one.

use super::{Error, Event, Gap, Subscription};

/// What a subscription delivers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Delivery {
    /// An event, with the number after that of the delivery before it.
    Event(Event),
    /// Events that will not come, told where they would have stood.
    Gap(Gap),
}

/// The deliveries of a [`Subscription`]. An error is an item too; after the one that ends the subscription there
/// are no more items.
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

/// The deliveries of a [`Subscription`] that nobody needs otherwise; see [`Deliveries`].
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
