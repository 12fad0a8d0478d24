//! A named subscriber that prints everything it receives.

use std::time::Duration;

use threadcast::client::{Client, Delivery, Error, Event, Gap, Start, Subscription};

use super::TourError;

/// Timeout of a delivery.
const DEADLINE: Duration = Duration::from_secs(20);

/// Longer payloads are truncated.
const PRINTED_CHARS: usize = 60;

/// A subscriber of the tour.
#[derive(Debug)]
pub(crate) struct Subscriber {
    name: &'static str,
    pub(crate) subscription: Subscription,
}

impl Subscriber {
    /// Subscribes with this `client_id`.
    pub(crate) fn subscribe(
        name: &'static str,
        client: &Client,
        topic: &str,
        start: impl Into<Start>,
    ) -> Result<Subscriber, TourError> {
        let start = start.into();
        println!("  {name} subscribes to {topic}: {start:?}");
        let subscriber = client.subscriber().client_id(name);
        let subscription = subscriber.topic(topic, start).open()?;
        Ok(Subscriber { name, subscription })
    }

    /// Waits for one delivery.
    pub(crate) fn recv(&mut self) -> Result<Delivery, TourError> {
        let delivery = self.subscription.recv_timeout(DEADLINE)?;
        let delivery = delivery.ok_or_else(|| format!("{} received nothing in time", self.name))?;
        match &delivery {
            Delivery::Event(event) => {
                let payload: String = event.raw().chars().take(PRINTED_CHARS).collect();
                println!("  {} ← {} {payload}", self.name, event.seq());
            }
            Delivery::Gap(gap) => println!("  {} ← gap: {gap}", self.name),
            other => println!("  {} ← {other:?}", self.name),
        }
        Ok(delivery)
    }

    /// Waits for one delivery, which must be an event.
    pub(crate) fn recv_event(&mut self) -> Result<Event, TourError> {
        match self.recv()? {
            Delivery::Event(event) => Ok(event),
            other => Err(format!("{} expected an event, got {other:?}", self.name).into()),
        }
    }

    /// Waits for one delivery, which must be a gap.
    pub(crate) fn recv_gap(&mut self) -> Result<Gap, TourError> {
        match self.recv()? {
            Delivery::Gap(gap) => Ok(gap),
            other => Err(format!("{} expected a gap, got {other:?}", self.name).into()),
        }
    }

    /// Waits for the error that ends the subscription; skips deliveries.
    pub(crate) fn recv_error(&mut self) -> Result<Error, TourError> {
        loop {
            match self.subscription.recv_timeout(DEADLINE) {
                Ok(Some(_)) => {}
                Ok(None) => return Err(format!("{} received nothing in time", self.name).into()),
                Err(end) => {
                    println!("  {} ← {end}", self.name);
                    return Ok(end);
                }
            }
        }
    }
}
