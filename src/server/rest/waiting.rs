//! A REST publish that finds no room waits on its connection's thread, not on a worker's.
//!
//! The handler says in a header how large the event is; the connection's thread waits in the line of the topic, and asks
//! again with the ticket of its place.

use super::router::published_topic;
use crate::broker::{Broker, Place, ReadBatch, WaitError};
use crate::server::http::Request;
use crate::server::http::message::PLACE_HEADER;

/// The wait of one request.
#[derive(Default)]
pub(crate) struct PublishWait {
    place: Option<Place>,
    batch: ReadBatch,
}

impl PublishWait {
    /// Waits until asking the request again makes sense, and puts the ticket into it. A client that leaves calls off only
    /// the wait for a slow subscriber: one that closes its side behind the request may still read the answer.
    pub(crate) fn wait(
        &mut self,
        broker: &Broker,
        request: &mut Request,
        event_bytes: &str,
        has_left: impl Fn() -> bool,
        is_refused: impl Fn() -> bool,
    ) -> Result<(), WaitError> {
        // One that is gone meanwhile is not found when the request is asked again.
        let topic = published_topic(&request.method, &request.path);
        let topic = topic.and_then(|name| broker.topic(name.as_str()));
        let (Some(topic), Ok(event_bytes)) = (topic, event_bytes.parse()) else {
            return Ok(());
        };
        let place = self.place.take().filter(|place| place.is_of(&topic));
        let place = self
            .place
            .insert(place.unwrap_or_else(|| topic.join_line()));
        let may_take_long = place.waits_for_subscribers();
        let is_cancelled = || is_refused() || (may_take_long && has_left());
        place.wait(event_bytes, &mut self.batch, is_cancelled)?;
        request.headers.retain(|(name, _)| name != PLACE_HEADER);
        let ticket = place.ticket().to_string();
        request.headers.push((PLACE_HEADER.to_owned(), ticket));
        Ok(())
    }
}
