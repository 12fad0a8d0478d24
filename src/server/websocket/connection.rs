//! One WebSocket connection, as its reader, its writer and every publisher see it: an outbox and its subscriptions.

use std::time::Instant;

use super::end::EndReason;
use super::outbox::{Outbox, Phase};
use super::slow_log::SlowConsumerLog;
use crate::access::Principal;
use crate::broker::{Delivery, End, IfBusy, Progress, ReadBatch, SubscriberSink, Subscription};
use crate::protocol::{
    ClientId, ErrorReply, Notice, TopicName, close_frame, push_error, push_notice,
    push_slow_consumer,
};
use crate::server::connection_info::ConnectionInfo;
use crate::server::panics::Panics;
use crate::sync::{Arc, AtomicU64, HashMap, Lock, Mutex, OnceLock, Ordering, mutex};

/// What names a subscription on its connection.
pub(super) type SubscriptionKey = (TopicName, ClientId);

pub(crate) struct Connection {
    pub(crate) info: Arc<ConnectionInfo>,
    /// Who opened it; for as long as it lives.
    pub(crate) principal: Principal,
    pub(super) outbox: Outbox,
    /// Guards the list alone; nothing is taken while it is held.
    subscriptions: Mutex<HashMap<SubscriptionKey, Arc<Subscription>>>,
    end_reason: OnceLock<EndReason>,
    /// Events its subscriptions had still to get when they ended.
    pending_at_end: AtomicU64,
    slow_log: Arc<SlowConsumerLog>,
    pub(super) panics: Panics,
}

impl Connection {
    pub(super) fn new(
        info: Arc<ConnectionInfo>,
        principal: Principal,
        outbox: Outbox,
        slow_log: Arc<SlowConsumerLog>,
        panics: Panics,
    ) -> Connection {
        Connection {
            info,
            principal,
            outbox,
            subscriptions: mutex(Lock::Subscriptions, HashMap::default()),
            end_reason: OnceLock::new(),
            pending_at_end: AtomicU64::new(0),
            slow_log,
            panics,
        }
    }

    pub(super) fn subscription(&self, key: &SubscriptionKey) -> Option<Arc<Subscription>> {
        self.subscriptions.lock().get(key).cloned()
    }

    pub(crate) fn subscription_count(&self) -> usize {
        self.subscriptions.lock().len()
    }

    /// Puts a subscription on the list; returns the one whose place it takes.
    pub(super) fn remember(
        &self,
        key: SubscriptionKey,
        subscription: Arc<Subscription>,
    ) -> Option<Arc<Subscription>> {
        self.subscriptions.lock().insert(key, subscription)
    }

    /// Takes this very subscription off the list.
    pub(super) fn forget(&self, subscription: &Arc<Subscription>) {
        let key = (
            subscription.topic().name().clone(),
            subscription.client_id().clone(),
        );
        let mut subscriptions = self.subscriptions.lock();
        if subscriptions
            .get(&key)
            .is_some_and(|held| Arc::ptr_eq(held, subscription))
        {
            subscriptions.remove(&key);
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.end_reason.get().is_none() && self.outbox.phase() == Phase::Open
    }

    /// Why the connection ends, once it does.
    pub(super) fn end_reason(&self) -> Option<&EndReason> {
        self.end_reason.get()
    }

    /// Ends the connection in order: its subscriptions end, then the close frame goes behind what is unsent.
    /// The first reason counts.
    pub(crate) fn end(&self, reason: EndReason) {
        if self.end_reason.set(self.true_reason(reason)).is_err() {
            return;
        }
        self.end_subscriptions();
        if let Some(reason) = self.end_reason.get() {
            self.outbox.close(&last_frames(reason));
        }
    }

    /// Ends the connection at once: there is nobody to tell.
    pub(crate) fn abort(&self, reason: EndReason) {
        let _ = self.end_reason.set(self.true_reason(reason));
        self.outbox.abort();
        self.end_subscriptions();
    }

    /// A socket that was given up looks to the reader like a peer that went away.
    fn true_reason(&self, seen: EndReason) -> EndReason {
        match seen {
            EndReason::PeerGone if self.outbox.timed_out() => EndReason::WriteTimeout,
            seen => seen,
        }
    }

    /// Tells the peer that the server goes down, and lets the writer send what is queued.
    pub(crate) fn drain(&self) {
        self.outbox
            .notify(|_, frames| push_notice(frames, Notice::ServerShutdown));
        self.outbox.order_drain();
    }

    /// Events delivered, and events that were queued when it ended and never sent.
    pub(crate) fn tally(&self) -> (u64, u64) {
        let (delivered, undelivered) = self.outbox.tally();
        (
            delivered,
            undelivered + self.pending_at_end.load(Ordering::Relaxed),
        )
    }

    /// Its subscriptions, by topic and client id.
    pub(crate) fn subscriptions(&self) -> Vec<Arc<Subscription>> {
        let mut subscriptions: Vec<_> = self.subscriptions.lock().values().cloned().collect();
        subscriptions.sort_unstable_by(|a, b| {
            let names = a.topic().name().cmp(b.topic().name());
            names.then_with(|| a.client_id().as_str().cmp(b.client_id().as_str()))
        });
        subscriptions
    }

    /// Bytes that the kernel has not taken yet.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.outbox.pending_bytes()
    }

    /// Ends every subscription, so that every count shows it.
    pub(super) fn end_subscriptions(&self) {
        let subscriptions = std::mem::take(&mut *self.subscriptions.lock());
        for subscription in subscriptions.values() {
            let end = self.end_cursor(subscription);
            let pending = end.map_or(0, |end| end.pending);
            self.pending_at_end.fetch_add(pending, Ordering::Relaxed);
            subscription.topic().unsubscribe(subscription);
        }
    }

    /// Nothing is sent for the subscription after this; `None` if it had ended before.
    pub(super) fn end_cursor(&self, subscription: &Subscription) -> Option<End> {
        let end = self
            .outbox
            .with_cursors(|cursors| cursors.end(subscription));
        subscription.topic().cursor_moved();
        end
    }

    /// On the writer thread: delivers a chunk of a subscription's events, waiting for the peer.
    pub(super) fn write_events(&self, subscription: &Arc<Subscription>) {
        let progress = self.outbox.write_events(subscription);
        self.follow_up(subscription, progress);
    }

    /// On the writer thread: sends all that is queued, then closes.
    pub(super) fn finish_drain(&self) {
        let subscriptions: Vec<_> = self.subscriptions.lock().values().cloned().collect();
        for subscription in subscriptions {
            let pending = || {
                self.outbox
                    .with_cursors(|cursors| cursors.pending(&subscription))
            };
            while pending() > 0 && self.is_open() {
                self.write_events(&subscription);
            }
        }
        self.end(EndReason::Shutdown);
    }

    fn follow_up(&self, subscription: &Arc<Subscription>, progress: Progress) {
        if progress.dropped > 0 {
            self.slow_log
                .dropped(self.info.id, subscription, progress.dropped);
        }
        if progress.ended {
            self.forget(subscription);
        }
        if progress.overflowed {
            self.too_slow(subscription);
        }
    }
}

impl SubscriberSink for Connection {
    fn deliver(
        &self,
        subscription: &Arc<Subscription>,
        batch: &mut ReadBatch,
        if_busy: IfBusy,
    ) -> Delivery {
        // A panic on a publisher's thread ends this connection, not the publisher's.
        let delivery = self.panics.catch(|| {
            let Some(progress) = self.outbox.deliver(subscription, batch, if_busy) else {
                return Delivery::Busy;
            };
            self.follow_up(subscription, progress);
            match progress.more {
                true => Delivery::More,
                false => Delivery::Done,
            }
        });
        delivery.unwrap_or_else(|| {
            batch.clear();
            self.end(EndReason::Internal);
            Delivery::Done
        })
    }

    fn schedule_writer(&self, subscription: &Arc<Subscription>) {
        self.outbox.schedule_writer(subscription);
    }

    /// The end and the notice of it are one step, so that no reply can come between.
    fn replaced(&self, subscription: &Arc<Subscription>) {
        let topic = subscription.topic();
        self.outbox.notify(|cursors, frames| {
            if let Some(End { seq, .. }) = cursors.end(subscription) {
                let topic = topic.name();
                push_notice(frames, Notice::SubscriptionReplaced { topic, seq });
            }
        });
        topic.cursor_moved();
        self.forget(subscription);
    }

    fn too_slow(&self, subscription: &Arc<Subscription>) {
        let topic = subscription.topic();
        let reason = EndReason::SlowConsumer(topic.name().clone(), topic.overflow());
        // A panic on a publisher's thread ends this connection, not the publisher's.
        let logged = self.panics.catch(|| {
            self.slow_log.disconnected(self.info.id, subscription);
        });
        self.end(logged.map_or(EndReason::Internal, |()| reason));
    }

    fn is_over(&self) -> bool {
        self.end_reason.get().is_some()
    }

    fn has_taken_since(&self, moment: Instant) -> bool {
        self.outbox.has_written_since(moment)
    }
}

/// The frames behind which nothing follows.
fn last_frames(reason: &EndReason) -> Vec<u8> {
    let mut frames = Vec::new();
    match reason {
        EndReason::SlowConsumer(topic, _) => push_slow_consumer(&mut frames, topic),
        EndReason::Unauthorized => push_error(&mut frames, None, &ErrorReply::key_withdrawn()),
        EndReason::Internal => push_error(&mut frames, None, &ErrorReply::internal()),
        _ => {}
    }
    let text = match reason {
        EndReason::PeerClosed(_) => String::new(),
        other => other.to_string(),
    };
    frames.extend(close_frame(reason.close_code(), &text));
    frames
}
