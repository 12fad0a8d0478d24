//! Someone with a name and a subscription, who prints everything that is heard.

use std::time::Duration;

use threadcast::client::{Client, Delivery, Error, Event, Gap, Start, Subscription};

use super::Failure;

/// No delivery takes this long; the tour fails rather than hangs.
const DEADLINE: Duration = Duration::from_secs(20);

/// Longer payloads are printed shortened.
const PRINTED_CHARS: usize = 60;

/// A subscriber of the tour.
#[derive(Debug)]
pub(crate) struct Visitor {
    name: &'static str,
    pub(crate) subscription: Subscription,
}

impl Visitor {
    /// Subscribes under this name.
    pub(crate) fn arrive(
        name: &'static str,
        client: &Client,
        topic: &str,
        start: impl Into<Start>,
    ) -> Result<Visitor, Failure> {
        let start = start.into();
        println!("  {name} subscribes to {topic}: {start:?}");
        let subscriber = client.subscriber().client_id(name);
        let subscription = subscriber.topic(topic, start).open()?;
        Ok(Visitor { name, subscription })
    }

    /// Waits for one delivery.
    pub(crate) fn hear(&mut self) -> Result<Delivery, Failure> {
        let delivery = self.subscription.recv_timeout(DEADLINE)?;
        let delivery = delivery.ok_or_else(|| format!("{} heard nothing in time", self.name))?;
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
    pub(crate) fn hear_event(&mut self) -> Result<Event, Failure> {
        match self.hear()? {
            Delivery::Event(event) => Ok(event),
            other => Err(format!("{} awaited an event and heard {other:?}", self.name).into()),
        }
    }

    /// Waits for one delivery, which must be a gap.
    pub(crate) fn hear_gap(&mut self) -> Result<Gap, Failure> {
        match self.hear()? {
            Delivery::Gap(gap) => Ok(gap),
            other => Err(format!("{} awaited a gap and heard {other:?}", self.name).into()),
        }
    }

    /// Waits for the end, past whatever is still delivered.
    pub(crate) fn hear_the_end(&mut self) -> Result<Error, Failure> {
        loop {
            match self.subscription.recv_timeout(DEADLINE) {
                Ok(Some(_)) => {}
                Ok(None) => return Err(format!("{} heard nothing in time", self.name).into()),
                Err(end) => {
                    println!("  {} ← {end}", self.name);
                    return Ok(end);
                }
            }
        }
    }
}
