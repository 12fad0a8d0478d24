//! How the subscriptions of a topic begin and end: opened at a position, ended by an unsubscribe, or taken over by another node.

use super::Topic;
use crate::broker::cursor::{Cursor, CursorKey};
use crate::broker::history::{Start, find_start};
use crate::broker::subscription::{Elsewhere, Opened};
use crate::broker::takeover::Takeover;
use crate::broker::{SubscribeError, Subscriber, SubscriberSink, Subscription};
use crate::protocol::{ClientId, StartAt, TopicName};
use crate::sync::{Arc, Weak};

/// A subscription to a mirror has ended on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Departure {
    pub(crate) topic: TopicName,
    pub(crate) client_id: ClientId,
    pub(crate) order: u64,
}

impl Topic {
    /// Opens a subscription at the requested position. Called under the outbox lock of its connection, which guards the
    /// cursor, so that the ack is queued before any thread can send an event.
    pub(in crate::broker) fn subscribe(
        self: &Arc<Self>,
        subscriber: Subscriber<'_>,
        start_at: &StartAt,
        key: CursorKey,
    ) -> Result<(Opened, Cursor), SubscribeError> {
        let mut state = self.state.write();
        if state.deleted {
            return Err(SubscribeError::Deleted);
        }
        let sink = subscriber.sink;
        let is_over = sink.upgrade().is_some_and(|sink| sink.is_over());
        if is_over {
            return Err(SubscribeError::ConnectionEnding);
        }
        if subscriber
            .pattern
            .as_ref()
            .is_some_and(|pattern| pattern.is_over())
        {
            return Err(SubscribeError::PatternEnded);
        }
        if subscriber.watches && !self.knows_presence(&state) {
            return Err(SubscribeError::PresenceUnknown);
        }
        let current = state.epochs.current().clone();
        let (expired, ahead) = (state.expired(), self.ahead());
        let start = find_start(expired, &state.log, &current, start_at, ahead);
        self.count_resume(start_at, start.as_ref().ok());
        let start = start.map_err(|_| SubscribeError::AheadOfTopic)?;
        let head = state.log.head();
        let subscription = Subscription::new(Arc::clone(self), subscriber, key, head);
        let subscription = Arc::new(subscription);
        let older = state.subscribers.insert(Arc::clone(&subscription));
        if older.is_none() {
            self.memory_budget.subscribed();
        }
        let (presence, begins) = self.note_joined(&mut state, &subscription);
        let cursor = Cursor {
            after: start.after,
            live_from: head,
            epoch: current.mark(),
        };
        let opened = Opened {
            subscription,
            seq: match start_at {
                StartAt::First => 0,
                _ => current.seq(head),
            },
            epoch: current.name(),
            recovered: start.recovered,
            gap: start.gap,
            presence,
            takeover: older.map(|older| Takeover::begin(older, head, sink)),
        };
        drop(state);
        if opened.presence.is_some() {
            self.metrics().presence_notices(1);
        }
        self.finish_presence(begins);
        Ok((opened, cursor))
    }

    /// Counts the outcome of a resume; `start` is `None` if it was refused.
    fn count_resume(&self, start_at: &StartAt, start: Option<&Start>) {
        if !matches!(start_at, StartAt::After { .. }) {
            return;
        }
        let metrics = &self.memory_budget.metrics;
        let gap = start.map(|start| start.gap.map(|gap| gap.reason.as_str()));
        metrics.resumes.count(match gap {
            None => "refused",
            Some(gap) => gap.unwrap_or("recovered"),
        });
        if let Some(Some(reason)) = gap {
            metrics.gaps.count(reason);
        }
    }

    /// Removes a subscription; does nothing if it is not registered.
    pub(crate) fn unsubscribe(&self, subscription: &Subscription) {
        let mut state = self.state.write();
        if !state.subscribers.remove(subscription) {
            return;
        }
        state.expiry.used();
        let begins = self.note_left(&mut state, subscription);
        let due = self.begin_queueing(&mut state);
        drop(state);
        self.finish_queueing(due);
        self.finish_presence(begins);
        self.memory_budget.unsubscribed(1);
        self.departed(subscription);
    }

    /// Ends the subscription of a client id that has a newer one on another node: it gets nothing after what the mirror has
    /// now. Returns `false` if there is no older one.
    pub(crate) fn supersede(&self, client_id: &ClientId, order: u64) -> bool {
        let mut state = self.state.write();
        let found = state.subscribers.get(client_id).cloned();
        let Some(older) = found.filter(|subscription| subscription.order() < order) else {
            return false;
        };
        state.subscribers.remove(&older);
        let elsewhere: Weak<Elsewhere> = Weak::new();
        let by: Weak<dyn SubscriberSink> = elsewhere;
        let takeover = Takeover::begin(older, state.log.head(), &by);
        state.expiry.used();
        let begins = state.note_superseded(&takeover.older);
        let due = self.begin_queueing(&mut state);
        drop(state);
        self.finish_queueing(due);
        self.finish_presence(begins);
        self.memory_budget.unsubscribed(1);
        self.departed(&takeover.older);
        takeover.end_older();
        true
    }

    /// The subscriptions of the topic here: their client ids, their orders, and when they began.
    pub(in crate::broker) fn owners(&self) -> Vec<Arc<Subscription>> {
        self.state.read().subscribers.iter().cloned().collect()
    }

    pub(super) fn departed(&self, subscription: &Subscription) {
        if let Some(departures) = &self.departures {
            let _ = departures.send(Departure {
                topic: self.name.clone(),
                client_id: subscription.client_id().clone(),
                order: subscription.order(),
            });
        }
    }
}
