//! The outbox: the unsent bytes of a connection, and the only code that writes to its socket.
//!
//! Only the holder of the outbox lock writes to the socket, except for the writer thread: it takes the unsent bytes out,
//! sets `writing`, and writes them with the lock free. So a frame is never split by another, and no thread waits for the
//! lock while the peer is slow.
//!
//! Lock order: outbox → list of subscriptions; outbox → topic. The overflow list is locked alone.

mod slow_path;
mod state;

use std::collections::VecDeque;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::unsent::Unsent;
use crate::broker::{
    Chunk, Cursors, IfBusy, LastTime, PresenceBatch, Progress, ReadBatch, SharedFrame, Subscription,
};
use crate::metrics::{Protocol, SharedMetrics};
use crate::protocol::Encoding;
use crate::server::transport::Transport;
use crate::sync::channel::{Receiver, Sender, TrySendError, bounded};
use crate::sync::{Arc, AtomicU64, AtomicUsize, Condvar, Lock, Mutex, Ordering, mutex};
pub(super) use state::Phase;
use state::{SharedPhase, State};

/// The most bytes that a thread reads from a log at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// Above this many unsent bytes the connection's own reader waits instead of adding replies.
const MAX_UNSENT_REPLIES_BYTES: usize = 64 << 10;
/// Capacity of the channel to the writer. Subscriptions that find it full go into the overflow list.
const CHANNEL_ITEMS: usize = if cfg!(shuttle) { 1 } else { 8 };

/// Work for the writer thread.
pub(super) enum Work {
    /// Deliver the next events of this subscription.
    Deliver(Arc<Subscription>),
    /// Check the outbox: there may be unsent bytes, subscriptions in the overflow list, a requested drain, or a new phase.
    WakeUp,
}

/// How many bytes of a send the kernel took, and how many whole events.
#[derive(Default)]
struct Sent {
    bytes: usize,
    events: u64,
}

pub(super) struct Outbox {
    transport: Transport,
    /// What the peer reads.
    pub(super) encoding: Encoding,
    pub(super) write_timeout: Duration,
    pub(super) metrics: SharedMetrics,
    phase: SharedPhase,
    state: Mutex<State>,
    /// Unsent bytes were written, the phase changed, or a subscription ended.
    changed: Condvar,
    work: Sender<Work>,
    /// Scheduled subscriptions that found the channel full.
    overflow: Mutex<VecDeque<Arc<Subscription>>>,
    /// Bytes that the kernel has not taken yet, including those the writer has taken out. For observers.
    pending_bytes: AtomicUsize,
    /// When the writer last sent something.
    last_written: LastTime,
    /// The longest that one blocking send of the writer may take, in microseconds.
    max_send_micros: AtomicU64,
}

impl Outbox {
    /// An outbox for a socket, and the work channel for its writer thread. Nothing is sent before [`Outbox::open`].
    pub(super) fn new(
        transport: Transport,
        encoding: Encoding,
        write_timeout: Duration,
        metrics: SharedMetrics,
    ) -> (Outbox, Receiver<Work>) {
        let (work, receiver) = bounded(CHANNEL_ITEMS);
        let outbox = Outbox {
            transport,
            encoding,
            write_timeout,
            metrics,
            phase: SharedPhase::default(),
            state: mutex(Lock::Outbox, State::new(encoding)),
            changed: Condvar::new(),
            work,
            overflow: mutex(Lock::Overflow, VecDeque::new()),
            pending_bytes: AtomicUsize::new(0),
            last_written: LastTime::default(),
            max_send_micros: AtomicU64::new(u64::MAX),
        };
        (outbox, receiver)
    }

    pub(super) fn protocol(&self) -> Protocol {
        match self.encoding {
            Encoding::WebSocket => Protocol::WebSocket,
            Encoding::EventStream(_) => Protocol::EventStream,
        }
    }

    /// Allows sending, after the response of the handshake was sent. The writer thread must not start before.
    pub(super) fn open(&self) {
        self.state.lock().writing = false;
        self.wake_writer();
    }

    /// Takes no lock.
    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Bytes that the kernel has not taken yet. Takes no lock.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending_bytes.load(Ordering::Relaxed)
    }

    /// Events delivered to the kernel, and events that were not.
    pub(super) fn tally(&self) -> (u64, u64) {
        let state = self.state.lock();
        let undelivered = state.undelivered + state.unsent.tally().1;
        (state.delivered, undelivered)
    }

    /// The fast path, on any thread: tries to send the subscription's next chunk, and leaves what the socket refuses to the
    /// writer. `None` if another thread holds the lock and the caller does not wait for it.
    pub(super) fn deliver(
        &self,
        subscription: &Arc<Subscription>,
        batch: &mut ReadBatch,
        if_busy: IfBusy,
    ) -> Option<Progress> {
        let mut state = match (self.state.try_lock(), if_busy) {
            (Some(state), _) => state,
            // The writer delivers its events already.
            (None, _) if subscription.lags() => {
                self.schedule_writer(subscription);
                return Some(Progress::default());
            }
            (None, IfBusy::Return) => return None,
            (None, IfBusy::Wait) => self.state.lock(),
        };
        if !self.is_idle(&state) {
            // The socket refused earlier bytes, which must be sent before these events.
            subscription.set_lags(true);
            drop(state);
            self.schedule_writer(subscription);
            return Some(Progress::default());
        }
        let (chunk, mut progress) = state.cursors.read(subscription, batch, CHUNK_BYTES);
        let Chunk { bytes, large, .. } = chunk;
        self.send_now(&mut state, bytes, large.as_ref(), progress.events);
        let is_refused = !self.is_idle(&state);
        if is_refused || !progress.more {
            subscription.set_lags(is_refused && progress.more);
        }
        drop(state);
        self.cursor_moved(subscription, progress);
        if is_refused && progress.more {
            self.schedule_writer(subscription);
            progress.more = false;
        }
        Some(progress)
    }

    /// Sends what a watcher has not heard of who came and left, or leaves that to the writer if the socket is behind: it hears of
    /// more at once then.
    pub(super) fn send_presence(
        &self,
        subscription: &Arc<Subscription>,
        batch: &mut PresenceBatch,
    ) {
        let mut state = self.state.lock();
        if self.is_idle(&state) {
            self.append_presence(&mut state, subscription, batch);
        } else {
            drop(state);
            self.schedule_writer(subscription);
        }
    }

    fn append_presence(
        &self,
        state: &mut State,
        subscription: &Subscription,
        batch: &mut PresenceBatch,
    ) {
        if !subscription.has_ended() && !subscription.waits() {
            let frames = subscription.topic().take_presence(subscription, batch);
            self.append(state, frames);
        }
    }

    /// Sends the reader's replies. Returns `false` if too many bytes are unsent: the reader must wait.
    pub(super) fn reply(&self, replies: &mut Vec<u8>) -> bool {
        let mut state = self.state.lock();
        if self.must_wait(&state) {
            return false;
        }
        self.append(&mut state, replies);
        replies.clear();
        true
    }

    /// Waits until replies may be sent; then calls `write` and sends the frames that it appends in one step under the lock, so
    /// that no event of a subscription opened by `write` is sent before them. `write` may take the locks of a topic and of
    /// the list of subscriptions.
    pub(super) fn reply_with<R>(&self, write: impl FnOnce(&mut Cursors, &mut Vec<u8>) -> R) -> R {
        let mut state = self.state.lock();
        while self.must_wait(&state) {
            self.changed.wait(&mut state);
        }
        let mut frames = Vec::new();
        let done = write(&mut state.cursors, &mut frames);
        self.append(&mut state, &frames);
        done
    }

    /// Waits until replies may be sent, or the connection is closing.
    pub(super) fn wait_until_read(&self) {
        self.reply_with(|_, _| ());
    }

    /// Sends the notice that `write` appends, after the unsent bytes. Never waits.
    pub(super) fn notify(&self, write: impl FnOnce(&mut Cursors, &mut Vec<u8>)) {
        let mut state = self.state.lock();
        let mut notice = Vec::new();
        write(&mut state.cursors, &mut notice);
        self.append(&mut state, &notice);
        drop(state);
        // The reader may wait for the end of the subscription that the notice is about.
        self.changed.notify_all();
    }

    /// Calls `look` with the cursors, under the lock.
    pub(super) fn with_cursors<R>(&self, look: impl FnOnce(&mut Cursors) -> R) -> R {
        look(&mut self.state.lock().cursors)
    }

    /// Queues the last frames, after which nothing is sent.
    pub(super) fn close(&self, last_frames: &[u8]) {
        let mut state = self.state.lock();
        if self.phase() != Phase::Open {
            return;
        }
        self.append(&mut state, last_frames);
        if self.phase() == Phase::Open {
            self.phase.set(Phase::Closing);
        }
        drop(state);
        self.changed.notify_all();
        self.wake_writer();
    }

    /// Shuts the socket down, which wakes the reader and the writer, and drops the unsent bytes.
    pub(super) fn abort(&self) {
        self.abort_locked(&mut self.state.lock());
    }

    /// Requests that the writer sends what is queued and ends the connection. Never waits.
    pub(super) fn request_drain(&self) {
        self.state.lock().drain_requested = true;
        self.wake_writer();
    }

    /// Whether a drain was requested since the last call.
    pub(super) fn take_drain_request(&self) -> bool {
        std::mem::take(&mut self.state.lock().drain_requested)
    }

    /// Notes that the reader has left, so that the writer may stop.
    pub(super) fn reader_left(&self) {
        self.state.lock().reader_left = true;
        self.changed.notify_all();
        self.wake_writer();
    }

    /// Whether the writer may stop.
    pub(super) fn is_over(&self) -> bool {
        // Locked before the phase is read, so that a close just before the reader left is seen.
        let state = self.state.lock();
        match self.phase() {
            Phase::Open => state.reader_left,
            Phase::Closing => false,
            Phase::Aborted => true,
        }
    }

    /// Whether the connection was aborted because of the write timeout.
    pub(super) fn timed_out(&self) -> bool {
        self.state.lock().timed_out
    }

    /// Waits until a subscription of a deleted topic has ended, or the connection is closing.
    pub(super) fn wait_until_ended(&self, subscription: &Subscription) {
        let mut state = self.state.lock();
        while self.phase() == Phase::Open && !subscription.has_ended() {
            self.changed.wait(&mut state);
        }
    }

    /// Whether the writer has sent anything since this moment.
    pub(super) fn has_written_since(&self, moment: Instant) -> bool {
        self.last_written.is_after(moment)
    }

    /// Schedules the writer to deliver the subscription's next events, unless it is scheduled already.
    pub(super) fn schedule_writer(&self, subscription: &Arc<Subscription>) {
        if !subscription.schedule() {
            return;
        }
        match self.work.try_send(Work::Deliver(Arc::clone(subscription))) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.overflow.lock().push_back(Arc::clone(subscription));
                // The writer may have emptied the channel and the list just before the push.
                self.wake_writer();
            }
        }
    }

    /// Whether a send may be tried: nothing is unsent, the writer is not writing, and the phase is `Open`.
    fn is_idle(&self, state: &State) -> bool {
        state.unsent.is_empty() && !state.writing && self.phase() == Phase::Open
    }

    fn must_wait(&self, state: &State) -> bool {
        self.phase() == Phase::Open && state.holds_too_much()
    }

    /// Called after the lock is released.
    fn cursor_moved(&self, subscription: &Subscription, progress: Progress) {
        subscription.topic().cursor_moved();
        if progress.ended {
            self.changed.notify_all();
        }
    }

    fn append(&self, state: &mut State, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.is_idle(state) {
            self.send_now(state, bytes, None, 0);
        } else if self.phase() == Phase::Open {
            // The writer is writing, or was woken for the unsent bytes.
            state.unsent.append(bytes);
            self.pending_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        }
    }

    /// Like [`Outbox::try_send`]; counted as a send on a thread other than the writer.
    fn send_now(&self, state: &mut State, bytes: &[u8], large: Option<&SharedFrame>, events: u64) {
        let sent = self.try_send(state, bytes, large, events);
        if sent.bytes > 0 {
            let protocol = self.protocol();
            self.metrics.sent_at_once(protocol, sent.bytes, sent.events);
        }
    }

    /// Tries to send without blocking, and leaves what the kernel does not take to the writer.
    fn try_send(
        &self,
        state: &mut State,
        bytes: &[u8],
        large: Option<&SharedFrame>,
        events: u64,
    ) -> Sent {
        let mut sent = Sent::default();
        let parts = [bytes, large.map_or(&[], |frame| frame)];
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            match self.transport.try_send(part) {
                Ok(taken) => {
                    sent.bytes += taken;
                    if taken < part.len() {
                        break;
                    }
                }
                Err(_) => {
                    state.undelivered += events;
                    self.abort_locked(state);
                    return sent;
                }
            }
        }
        sent.events = events;
        if sent.bytes < parts[0].len() + parts[1].len() {
            sent.events = state.unsent.keep_rest(bytes, large, sent.bytes, events);
            self.pending_bytes
                .fetch_add(state.unsent.len(), Ordering::Relaxed);
            self.wake_writer();
        }
        state.delivered += sent.events;
        sent
    }

    /// Counts the events among bytes that were written or dropped.
    fn count_outcome(&self, state: &mut State, unsent: &Unsent) {
        self.metrics.delivered(state.count_outcome(unsent));
        self.pending_bytes
            .fetch_sub(unsent.len(), Ordering::Relaxed);
    }

    fn abort_locked(&self, state: &mut State) {
        self.phase.set(Phase::Aborted);
        let unsent = state.unsent.take();
        self.count_outcome(state, &unsent);
        self.transport.shutdown(Shutdown::Both);
        self.changed.notify_all();
    }

    /// Does nothing if the channel is full: the writer checks the outbox after each item.
    fn wake_writer(&self) {
        let _ = self.work.try_send(Work::WakeUp);
    }
}
