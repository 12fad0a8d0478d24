//! Subscriptions of this node join their topic in the cluster, and leave it.

use crossbeam_channel::{Receiver, select};

use super::owners;
use crate::broker::Topic;
use crate::broker::engine::redis::{
    Redis,
    mirroring::catch_up::{After, catch_up},
    shard::Shard,
    status::State,
};
use crate::broker::mirror::Place;
use crate::broker::registry::{Caller, Joined, TopicError};
use crate::broker::topic::Departure;
use crate::protocol::{ClientId, TopicName};
use crate::sync::Arc;

/// How often a subscribe is tried again whose mirror was closed meanwhile.
pub(super) const MAX_TRIES: usize = 5;

impl Redis {
    /// Makes the subscription of this client id the newest, and the mirror of its topic ready for it.
    pub(crate) fn join(
        &self,
        name: &TopicName,
        client_id: &ClientId,
        caller: Caller<'_>,
    ) -> Result<Joined, TopicError> {
        let shard = self.shard(name)?;
        for _ in 0..MAX_TRIES {
            let mirror = self.mirrors.get_or_open(shard, name, &self.departures)?;
            let topic = mirror.ok_or(TopicError::NotFound)?;
            let owned = owners::join(shard, name, client_id, caller);
            if owned.as_ref().err() == Some(&TopicError::NotFound) {
                // The mirror is of a topic that was deleted or lost.
                catch_up(shard, &topic, After::Interruption)?;
                if topic.place().is_some() {
                    continue;
                }
                return Err(TopicError::NotFound);
            }
            let owned = owned?;
            let caught_up = match has_reached(&topic, &owned.place) {
                true => Ok(()),
                false => catch_up(shard, &topic, After::Subscribe),
            };
            if caught_up.is_ok() && topic.place().is_some() {
                let order = owned.order;
                return Ok(Joined { topic, order });
            }
            self.leave(name, client_id, owned.order);
            caught_up?;
        }
        Err(TopicError::Unavailable)
    }

    /// A subscription that joined was not opened.
    pub(crate) fn leave(&self, topic: &TopicName, client_id: &ClientId, order: u64) {
        let _ = self.departures.send(Departure {
            topic: topic.clone(),
            client_id: client_id.clone(),
            order,
        });
    }

    /// Whether another node took over the client id of a subscription before it was open here.
    pub(crate) fn was_replaced(&self, topic: &TopicName, client_id: &ClientId, order: u64) -> bool {
        self.appliers.owners.was_replaced(topic, client_id, order)
    }
}

/// Whether a mirror has this event, or is in another epoch, which is found out elsewhere.
fn has_reached(topic: &Topic, there: &Place) -> bool {
    let here = topic.place();
    here.is_some_and(|here| here.epoch == there.epoch && here.seq >= there.seq)
}

/// Removes the owners of subscriptions that end, as they end, until no further one can.
pub(crate) fn leave_all(
    shards: &[Arc<Shard>],
    departed: &Receiver<Departure>,
    has_left: &Receiver<()>,
) {
    let leave = |departure: Departure| {
        let owners = &shards[0].appliers.owners;
        owners.departed(departure);
        departed
            .try_iter()
            .for_each(|departure| owners.departed(departure));
        for shard in shards
            .iter()
            .filter(|shard| shard.status.state() != State::Down)
        {
            let _ = owners::leave(shard);
        }
    };
    loop {
        select! {
            recv(departed) -> departure => match departure {
                Ok(departure) => leave(departure),
                Err(_) => return,
            },
            recv(has_left) -> _ => {
                departed.try_iter().for_each(leave);
                return;
            }
        }
    }
}
