//! The subscriber sink: what a subscription needs of its connection. All that the broker knows of connections is here.

use std::time::{Duration, Instant};

use super::{SubscribeError, Subscription};
use crate::broker::chunk::ReadBatch;
use crate::broker::patterns::PatternSubscription;
use crate::broker::topic::{PresenceBatch, Topic};
use crate::protocol::{EpochName, StartAt, TopicName, UserName};
use crate::sync::Arc;

/// The subscriber sink: what a subscription needs of its connection. The broker calls it with no lock held.
pub(crate) trait SubscriberSink: Send + Sync {
    /// Tries to send a chunk of the subscription's next events, and leaves what the socket refuses to the writer. Never waits
    /// for the peer.
    fn deliver(
        &self,
        subscription: &Arc<Subscription>,
        batch: &mut ReadBatch,
        if_busy: IfBusy,
    ) -> Delivery;

    /// Schedules the connection's writer to deliver the subscription's next events.
    fn schedule_writer(&self, subscription: &Arc<Subscription>);

    /// Sends a client that watches what it has not heard of, or leaves that to the writer. Never waits for the peer.
    fn presence_changed(&self, _subscription: &Arc<Subscription>, _batch: &mut PresenceBatch) {}

    /// Ends a subscription that another connection took over, and sends a notice of that.
    fn replaced(&self, subscription: &Arc<Subscription>);

    /// Ends the connection because of the topic's overflow policy.
    fn too_slow(&self, subscription: &Arc<Subscription>);

    /// Publishers to one of its topics wait at most this long for it from now on.
    fn may_hold_publishers(&self, _block_timeout: Duration) {}

    /// Subscribes to a topic that matches a pattern and appears now. In an embedded server nobody else can find the topic before
    /// this returns.
    fn topic_appeared(
        &self,
        _pattern: &Arc<PatternSubscription>,
        _topic: &Arc<Topic>,
        _order: u64,
        _start_at: &StartAt,
    ) -> Result<(), SubscribeError> {
        Err(SubscribeError::ConnectionEnding)
    }

    /// Whether a topic of the cluster that matches a pattern is to join: what is in this epoch, if it is known, has not yet, and
    /// there is room. If there is none, the client gets an error.
    fn may_join(
        &self,
        _pattern: &Arc<PatternSubscription>,
        _topic: &TopicName,
        _epoch: Option<EpochName>,
    ) -> bool {
        false
    }

    /// Ends a pattern that another connection took over, with a notice for each of its subscriptions.
    fn pattern_replaced(&self, _pattern: &Arc<PatternSubscription>) {}

    /// The user of the connection's token, if it names one. Never changes.
    fn user(&self) -> Option<&UserName> {
        None
    }

    /// Whether the connection is ending or has ended. Takes no lock, because it is called under a topic's lock.
    fn is_over(&self) -> bool;

    /// Whether the writer has sent anything since this moment.
    fn has_taken_since(&self, moment: Instant) -> bool;
}

/// What [`SubscriberSink::deliver`] does while another thread sends on the connection. Such a send does not wait for the
/// peer, so `Wait` is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfBusy {
    Return,
    Wait,
}

/// The result of trying to deliver a subscription's next events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The socket took everything; or it refused some, and the writer sends the rest; or the connection is ending.
    Done,
    /// The socket took the chunk, and there is more. The caller must deliver again or schedule the writer.
    More,
    /// Another thread sends on the connection. The caller must deliver again or schedule the writer.
    Busy,
}

/// The sink of a connection that is not here: of one on another node, or of none. It is over, and does nothing.
pub(crate) struct Elsewhere;

impl SubscriberSink for Elsewhere {
    fn deliver(&self, _: &Arc<Subscription>, _: &mut ReadBatch, _: IfBusy) -> Delivery {
        Delivery::Done
    }
    fn schedule_writer(&self, _: &Arc<Subscription>) {}
    fn replaced(&self, _: &Arc<Subscription>) {}
    fn too_slow(&self, _: &Arc<Subscription>) {}
    fn is_over(&self) -> bool {
        true
    }
    fn has_taken_since(&self, _: Instant) -> bool {
        false
    }
}
