//! A connection, WebSocket or event stream: its outbox and its subscriptions, shared by its reader, its writer and all publishers.

use std::time::{Duration, Instant};

use super::end::EndReason;
use super::outbox::{Outbox, Phase};
use super::subscriptions::Subscriptions;
use crate::broker::{
    Caller, Cursors, Delivery, End, IfBusy, PatternSubscription, PresenceBatch, Progress,
    ReadBatch, SubscribeError, SubscriberSink, Subscription, Topic,
};
use crate::limited_log::{LimitedLog, limited};
use crate::metrics::Protocol;
use crate::protocol::{
    Encoding, EpochName, ErrorReply, Notice, StartAt, TopicName, UserName, close_frame,
};
use crate::server::connection_info::ConnectionInfo;
use crate::server::panics::Panics;
use crate::sync::{Arc, AtomicU64, OnceLock, Ordering};

pub(crate) struct Connection {
    pub(crate) info: Arc<ConnectionInfo>,
    /// The user of its tokens, if they name one. Never changes; what else a token says may.
    user: Option<UserName>,
    pub(super) outbox: Outbox,
    pub(super) subscriptions: Subscriptions,
    end_reason: OnceLock<EndReason>,
    /// Events that its subscriptions had not read when they ended.
    pending_at_end: AtomicU64,
    slow_log: Arc<SlowConsumerLog>,
    pub(super) panics: Panics,
}

impl Connection {
    pub(super) fn new(
        info: Arc<ConnectionInfo>,
        user: Option<UserName>,
        max_subscriptions: usize,
        outbox: Outbox,
        slow_log: Arc<SlowConsumerLog>,
        panics: Panics,
    ) -> Connection {
        Connection {
            info,
            user,
            outbox,
            subscriptions: Subscriptions::new(max_subscriptions),
            end_reason: OnceLock::new(),
            pending_at_end: AtomicU64::new(0),
            slow_log,
            panics,
        }
    }

    /// Who subscribes on it.
    pub(super) fn caller(&self) -> Caller<'_> {
        Caller {
            connection: self.info.id,
            user: self.user.as_ref(),
        }
    }

    /// How many subscriptions it has, patterns included.
    pub(crate) fn subscription_count(&self) -> usize {
        self.subscriptions.count()
    }

    /// Removes this subscription from the list, unless another one replaced it. One that waited for its end begins.
    pub(super) fn remove_subscription(&self, subscription: &Arc<Subscription>) {
        let Some(next) = self.subscriptions.remove(subscription) else {
            return;
        };
        self.outbox.notify(|_, frames| next.begin(frames));
        self.outbox.schedule_writer(&next.subscription);
    }

    pub(super) fn is_open(&self) -> bool {
        self.end_reason.get().is_none() && self.outbox.phase() == Phase::Open
    }

    /// Why the connection ends; `None` while it is open.
    pub(super) fn end_reason(&self) -> Option<&EndReason> {
        self.end_reason.get()
    }

    /// Ends the connection in order: ends its subscriptions, then queues the close frame after the unsent bytes. Only the first
    /// reason counts.
    pub(crate) fn end(&self, reason: EndReason) {
        if self.end_reason.set(self.actual_reason(reason)).is_err() {
            return;
        }
        self.end_subscriptions();
        if let Some(reason) = self.end_reason.get() {
            self.outbox.close(&last_frames(reason, self.encoding()));
        }
    }

    /// Aborts the connection: gives the socket up at once, without a close frame.
    pub(crate) fn abort(&self, reason: EndReason) {
        let _ = self.end_reason.set(self.actual_reason(reason));
        self.outbox.abort();
        self.end_subscriptions();
    }

    /// After a write timeout the reader sees an aborted socket, which looks as if the peer had gone.
    fn actual_reason(&self, seen: EndReason) -> EndReason {
        match seen {
            EndReason::PeerGone if self.outbox.timed_out() => EndReason::WriteTimeout,
            seen => seen,
        }
    }

    /// Sends the shutdown notice, and makes the writer send what is queued and close. Never waits.
    pub(crate) fn drain(&self) {
        self.outbox
            .notify(|_, frames| self.encoding().push_notice(frames, Notice::ServerShutdown));
        self.outbox.request_drain();
    }

    /// Events delivered, and events that were pending when the connection ended and never sent.
    pub(crate) fn tally(&self) -> (u64, u64) {
        let (delivered, undelivered) = self.outbox.tally();
        (
            delivered,
            undelivered + self.pending_at_end.load(Ordering::Relaxed),
        )
    }

    /// What the peer reads.
    pub(crate) fn encoding(&self) -> Encoding {
        self.outbox.encoding
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.outbox.protocol()
    }

    pub(in crate::server) fn write_timeout(&self) -> Duration {
        self.outbox.write_timeout
    }

    /// Sends bytes that are no events, after the unsent bytes. Never waits.
    pub(in crate::server) fn queue(&self, bytes: &[u8]) {
        self.outbox.notify(|_, out| out.extend_from_slice(bytes));
    }

    /// Counts bytes that the peer sent.
    pub(in crate::server) fn received(&self, bytes: usize) {
        self.outbox.metrics.received(self.protocol(), bytes);
    }

    /// An event stream lasts as long as its subscription.
    fn is_event_stream(&self) -> bool {
        self.protocol() == Protocol::EventStream
    }

    /// Its subscriptions, sorted by topic and client id.
    pub(crate) fn subscriptions(&self) -> Vec<Arc<Subscription>> {
        let mut subscriptions = self.subscriptions.all();
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

    /// Ends all subscriptions and removes them from their topics.
    pub(super) fn end_subscriptions(&self) {
        let (subscriptions, patterns) = self.subscriptions.take();
        patterns.iter().for_each(PatternSubscription::end);
        for subscription in &subscriptions {
            let end = self.end_cursor(subscription);
            let pending = end.map_or(0, |end| end.pending);
            self.pending_at_end.fetch_add(pending, Ordering::Relaxed);
            subscription.topic().unsubscribe(subscription);
        }
    }

    /// Removes the cursor of a subscription, so that no more of its events are sent; `None` if it had ended before.
    pub(super) fn end_cursor(&self, subscription: &Subscription) -> Option<End> {
        let end = self
            .outbox
            .with_cursors(|cursors| cursors.end(subscription));
        subscription.topic().cursor_moved();
        end
    }

    /// Delivers a chunk of a subscription's events, and waits for the peer. Only on the writer thread.
    pub(super) fn write_events(&self, subscription: &Arc<Subscription>) {
        let progress = self.outbox.write_events(subscription);
        self.follow_up(subscription, progress);
    }

    /// Sends everything that is queued, then ends the connection. Only on the writer thread.
    pub(super) fn finish_drain(&self) {
        let is_pending = |subscription: &Arc<Subscription>| {
            let pending = |cursors: &mut Cursors| cursors.pending(subscription);
            self.outbox.with_cursors(pending) > 0
        };
        // Those that wait for the end of others begin meanwhile.
        while let Some(subscription) = self.subscriptions.all().into_iter().find(is_pending) {
            while is_pending(&subscription) && self.is_open() {
                self.write_events(&subscription);
            }
            if !self.is_open() {
                break;
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
            self.remove_subscription(subscription);
            if self.is_event_stream() {
                self.end(EndReason::TopicDeleted);
            }
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
        // Runs on a publisher's thread. A panic must end this connection, not the publisher's.
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

    fn presence_changed(&self, subscription: &Arc<Subscription>, batch: &mut PresenceBatch) {
        // A panic must end this connection, not the round.
        let sent = self
            .panics
            .catch(|| self.outbox.send_presence(subscription, batch));
        if sent.is_none() {
            *batch = PresenceBatch::default();
            self.end(EndReason::Internal);
        }
    }

    /// Ends the subscription and queues the notice in one step, so that no reply comes between.
    fn replaced(&self, subscription: &Arc<Subscription>) {
        let topic = subscription.topic();
        self.outbox.notify(|cursors, frames| {
            let has_begun = !subscription.waits();
            let Some(End { seq, .. }) = cursors.end(subscription) else {
                return;
            };
            let pattern = subscription.pattern();
            let notice = Notice::SubscriptionReplaced {
                topic: topic.name(),
                pattern: pattern.map(|pattern| pattern.pattern()),
                seq,
            };
            let push = |frames: &mut Vec<u8>| self.encoding().push_notice(frames, notice);
            match pattern {
                // Its ack counts the topic, whose notice it has not got.
                Some(pattern) if has_begun || pattern.is_starting() => {
                    self.push_of_pattern(pattern, frames, push);
                }
                None if has_begun => push(frames),
                Some(_) | None => {}
            }
        });
        if let Some(pattern) = subscription.pattern() {
            pattern.lose(topic);
        }
        topic.cursor_moved();
        self.remove_subscription(subscription);
        if self.is_event_stream() {
            self.end(EndReason::SubscriptionReplaced);
        }
    }

    fn topic_appeared(
        &self,
        pattern: &Arc<PatternSubscription>,
        topic: &Arc<Topic>,
        order: u64,
        start_at: &StartAt,
    ) -> Result<(), SubscribeError> {
        // Runs on the thread that creates the topic, or lets topics join. A panic must end this connection, not that thread.
        let join = || self.join_appeared(pattern, topic, order, start_at);
        self.panics.catch(join).unwrap_or_else(|| {
            self.end(EndReason::Internal);
            Err(SubscribeError::ConnectionEnding)
        })
    }

    fn may_join(
        &self,
        pattern: &Arc<PatternSubscription>,
        topic: &TopicName,
        epoch: Option<EpochName>,
    ) -> bool {
        self.may_join_now(pattern, topic, epoch)
    }

    fn pattern_replaced(&self, pattern: &Arc<PatternSubscription>) {
        let subscriptions = self.subscriptions.remove_pattern(pattern);
        for subscription in subscriptions.into_iter().flatten() {
            self.end_replaced(&subscription);
        }
    }

    fn user(&self) -> Option<&UserName> {
        self.user.as_ref()
    }

    fn may_hold_publishers(&self, block_timeout: Duration) {
        self.outbox.may_hold_publishers(block_timeout);
    }

    fn too_slow(&self, subscription: &Arc<Subscription>) {
        let topic = subscription.topic();
        let reason = EndReason::SlowConsumer(topic.name().clone(), topic.overflow());
        // Runs on a publisher's thread. A panic must end this connection, not the publisher's.
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

/// The last frames of a connection: an error if one applies, and the close frame or the end of the stream.
fn last_frames(reason: &EndReason, encoding: Encoding) -> Vec<u8> {
    let mut frames = Vec::new();
    match reason {
        EndReason::SlowConsumer(topic, _) => encoding.push_slow_consumer(&mut frames, topic),
        EndReason::Unauthorized => encoding.push_error(&mut frames, &ErrorReply::key_withdrawn()),
        EndReason::TokenExpired => {
            encoding.push_error(&mut frames, &ErrorReply::token_expired());
        }
        EndReason::Internal => encoding.push_error(&mut frames, &ErrorReply::internal()),
        _ => {}
    }
    let text = match reason {
        EndReason::PeerClosed(_) => String::new(),
        other => other.to_string(),
    };
    match encoding {
        Encoding::WebSocket => frames.extend(close_frame(reason.close_code(), &text)),
        Encoding::EventStream(coding) => {
            // A reader of the raw stream sees why it ended; an `EventSource` does not.
            coding.push_comment(&mut frames, &text);
            coding.push_end(&mut frames);
        }
    }
    frames
}

/// The log of slow consumers, shared by all connections of a server.
pub(crate) struct SlowConsumerLog(LimitedLog);

impl Default for SlowConsumerLog {
    fn default() -> SlowConsumerLog {
        SlowConsumerLog(LimitedLog::new("slow consumers"))
    }
}

impl SlowConsumerLog {
    pub(super) fn dropped(&self, connection: u64, subscription: &Subscription, events: u64) {
        let (topic, client_id) = (subscription.topic().name(), subscription.client_id());
        limited!(
            self.0,
            warn,
            "slow consumer: events dropped",
            connection,
            %topic,
            client_id = client_id.as_str(),
            events
        );
    }

    pub(super) fn disconnected(&self, connection: u64, subscription: &Subscription) {
        let (topic, client_id) = (subscription.topic().name(), subscription.client_id());
        limited!(
            self.0,
            warn,
            "slow consumer: disconnected",
            connection,
            %topic,
            client_id = client_id.as_str()
        );
    }
}
