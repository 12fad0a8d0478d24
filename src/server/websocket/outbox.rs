//! The outbox: all a connection still has to send, and the only way to its socket.
//!
//! Only the holder of the outbox lock writes to the socket, except for the writer thread, which takes the unsent bytes
//! out, says so (`writing`), and writes them with the lock free. So a frame is never split by another, and nobody ever
//! waits for a lock while the peer is slow.
//!
//! Lock order: sending → list of subscriptions; sending → subscription cursor → gate → topic. `ready` is taken alone.

mod pending;
mod sending;
mod slow_path;
#[cfg_attr(all(test, shuttle), path = "models/socket.rs")]
pub(super) mod socket;

use std::collections::VecDeque;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::unsent::Unsent;
use crate::broker::{Batch, LastTime, Meeting, Piece, SharedFrame, Subscription};
use crate::metrics::SharedMetrics;
use crate::sync::channel::{Receiver, Sender, TrySendError, bounded};
use crate::sync::{Arc, Condvar, Mutation, Mutex, mutated};
use pending::{MaxWait, PendingBytes};
use sending::Sending;
pub(super) use sending::{Offered, Phase};
pub(crate) use socket::Socket;

/// The most a thread gathers at a time, whatever the backlog.
const PIECE_BYTES: usize = 64 << 10;
/// Unsent bytes above which the connection's own reader waits instead of adding replies.
const MAX_UNSENT_REPLIES_BYTES: usize = if cfg!(shuttle) { 64 } else { 64 << 10 };
/// Tokens the channel to the writer holds; more wait in the ready list.
const CHANNEL_ITEMS: usize = if cfg!(shuttle) { 1 } else { 8 };

/// What the writer thread is asked to do.
pub(super) enum Work {
    /// This subscription has events that the fast path did not deliver.
    Events(Arc<Subscription>),
    /// Something changed that is told elsewhere: unsent bytes, the ready list, an order, the phase.
    Look,
}

/// What the kernel took of a send, and how many events went out whole with it.
#[derive(Default)]
struct Sent {
    bytes: usize,
    events: u64,
}

pub(super) struct Outbox {
    socket: Socket,
    write_timeout: Duration,
    pub(super) metrics: SharedMetrics,
    /// Guards what is unsent and who writes. Held for one gathering and one non-blocking send at most.
    sending: Mutex<Sending>,
    /// Unsent bytes were written, or the phase changed.
    changed: Condvar,
    work: Sender<Work>,
    /// For observers.
    pending: PendingBytes,
    /// When the writer last sent something.
    last_written: LastTime,
    max_wait: MaxWait,
    /// Subscriptions whose token found the channel full.
    ready: Mutex<VecDeque<Arc<Subscription>>>,
}

impl Outbox {
    /// An outbox for a socket, and the channel its writer thread must read.
    pub(super) fn new(
        socket: Socket,
        write_timeout: Duration,
        metrics: SharedMetrics,
    ) -> (Outbox, Receiver<Work>) {
        let (work, receiver) = bounded(CHANNEL_ITEMS);
        let outbox = Outbox {
            socket,
            write_timeout,
            metrics,
            sending: Mutex::new(Sending {
                writing: true,
                ..Sending::default()
            }),
            changed: Condvar::new(),
            work,
            pending: PendingBytes::default(),
            last_written: LastTime::default(),
            max_wait: MaxWait::default(),
            ready: Mutex::default(),
        };
        (outbox, receiver)
    }

    /// The handshake is answered: frames may follow. The writer thread must not work before.
    pub(super) fn open(&self) {
        self.sending.lock().writing = false;
        self.nudge();
    }

    pub(super) fn phase(&self) -> Phase {
        self.sending.lock().phase
    }

    /// Bytes that the kernel has not taken yet. Takes no lock.
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending.get()
    }

    /// Events given to the kernel, and events that never could be.
    pub(super) fn tally(&self) -> (u64, u64) {
        let sending = self.sending.lock();
        (
            sending.delivered,
            sending.undelivered + sending.unsent.tally().1,
        )
    }

    /// The fast path of a fan-out: sends a piece of a subscription's events, as much as the socket takes, and leaves the
    /// rest to the writer. `None` when another thread sends just now and the caller does not wait for it.
    pub(super) fn offer(
        &self,
        subscription: &Arc<Subscription>,
        batch: &mut Batch,
        meeting: Meeting,
    ) -> Option<Offered> {
        let mut sending = match (self.sending.try_lock(), meeting) {
            (Some(sending), _) => sending,
            // Its writer has the rest, and is at it.
            (None, _) if subscription.lags() => {
                self.call_writer(subscription);
                return Some(Offered::default());
            }
            (None, Meeting::Pass) => return None,
            (None, Meeting::Wait) => self.sending.lock(),
        };
        if !sending.is_idle() {
            // The socket has refused bytes that stand before these events.
            subscription.set_lags(true);
            drop(sending);
            self.call_writer(subscription);
            return Some(Offered::default());
        }
        let progress = match subscription.take(batch) {
            Some(progress) => progress,
            None => subscription.fill(batch, PIECE_BYTES),
        };
        let Piece { bytes, large } = &batch.piece;
        self.send_now(&mut sending, bytes, large.as_ref(), progress.events);
        let is_refused = !sending.is_idle();
        if is_refused || !progress.more {
            subscription.set_lags(is_refused && progress.more);
        }
        drop(sending);
        if progress.ended {
            self.changed.notify_all();
        }
        let mut offered = Offered::from(progress);
        if is_refused && offered.more {
            self.call_writer(subscription);
            offered.more = false;
        }
        Some(offered)
    }

    /// Sends the reader's replies, unless the peer leaves too many unread: `false`, and the reader must wait.
    pub(super) fn reply(&self, replies: &mut Vec<u8>) -> bool {
        let mut sending = self.sending.lock();
        if sending.holds_too_much() {
            return false;
        }
        self.append(&mut sending, replies);
        replies.clear();
        true
    }

    /// Waits until the peer takes replies; then does what `write` does, and sends the frames that it appends, as one step:
    /// nothing that comes of it can be sent before them. `write` may take the locks of a topic, a cursor and the list of
    /// subscriptions.
    pub(super) fn reply_with<R>(&self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let mut sending = self.sending.lock();
        while sending.holds_too_much() {
            self.changed.wait(&mut sending);
        }
        let mut frames = Vec::new();
        let done = write(&mut frames);
        self.append(&mut sending, &frames);
        done
    }

    /// Waits until the peer has read enough to be sent replies again, or never will.
    pub(super) fn wait_until_read(&self) {
        self.reply_with(|_| ());
    }

    /// Puts the notice that `write` appends behind what is unsent. Never waits; `write` may take a cursor's lock.
    pub(super) fn notify(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut sending = self.sending.lock();
        let mut notice = Vec::new();
        write(&mut notice);
        self.append(&mut sending, &notice);
        drop(sending);
        // A notice may be of an end that the reader waits for.
        self.changed.notify_all();
    }

    /// Queues the last frames; nothing follows them. `false` if the connection was ending already.
    pub(super) fn close(&self, last_frames: &[u8]) -> bool {
        let mut sending = self.sending.lock();
        if sending.phase != Phase::Open {
            return false;
        }
        self.append(&mut sending, last_frames);
        if sending.phase == Phase::Open {
            sending.phase = Phase::Closing;
        }
        drop(sending);
        self.changed.notify_all();
        self.nudge();
        true
    }

    /// Gives the socket up: wakes its reader and its writer.
    pub(super) fn fail(&self) {
        self.give_up(&mut self.sending.lock());
    }

    /// Asks the writer to send what is queued and close. Never waits.
    pub(super) fn order_drain(&self) {
        self.sending.lock().drain_ordered = true;
        self.nudge();
    }

    /// Whether a drain was ordered since last asked.
    pub(super) fn take_drain_order(&self) -> bool {
        std::mem::take(&mut self.sending.lock().drain_ordered)
    }

    /// The reader has left: nobody waits for the peer any more, and the writer may stop.
    pub(super) fn reader_left(&self) {
        self.sending.lock().reader_gone = true;
        self.changed.notify_all();
        self.nudge();
    }

    /// Whether the writer has nothing more to do.
    pub(super) fn is_over(&self) -> bool {
        let sending = self.sending.lock();
        sending.phase == Phase::Failed || (sending.reader_gone && sending.phase == Phase::Open)
    }

    /// Whether it was given up because a write did not finish in time.
    pub(super) fn timed_out(&self) -> bool {
        self.sending.lock().timed_out
    }

    /// Waits until a subscription of a deleted topic has been told everything, or nothing more can be sent.
    pub(super) fn wait_until_ended(&self, subscription: &Subscription) {
        let mut sending = self.sending.lock();
        while sending.phase == Phase::Open && !subscription.has_ended() {
            self.changed.wait(&mut sending);
        }
    }

    /// A topic is subscribed to whose publishers wait this long, at most, for the peer to take something.
    pub(super) fn may_hold_publishers(&self, block_timeout: Duration) {
        self.max_wait.fit(block_timeout);
    }

    /// Whether the writer has sent anything since this moment.
    pub(super) fn has_written_since(&self, moment: Instant) -> bool {
        self.last_written.is_after(moment)
    }

    fn append(&self, sending: &mut Sending, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if sending.is_idle() {
            self.send_now(sending, bytes, None, 0);
        } else if sending.phase == Phase::Open || mutated(Mutation::SendBehindClose) {
            // The writer thread is at work, or has been called for what is unsent.
            sending.unsent.append(bytes);
            self.pending.add(bytes.len());
        }
    }

    /// Sends on whichever thread this is, as [`Outbox::try_send`] does, and counts it as such.
    fn send_now(
        &self,
        sending: &mut Sending,
        bytes: &[u8],
        large: Option<&SharedFrame>,
        events: u64,
    ) {
        let sent = self.try_send(sending, bytes, large, events);
        if sent.bytes > 0 {
            self.metrics.sent_at_once(sent.bytes, sent.events);
        }
    }

    /// Sends without blocking; what the kernel does not take is left to the writer.
    fn try_send(
        &self,
        sending: &mut Sending,
        bytes: &[u8],
        large: Option<&SharedFrame>,
        events: u64,
    ) -> Sent {
        let mut sent = Sent::default();
        let parts = [bytes, large.map_or(&[], |frame| frame)];
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            match self.socket.send_now(part) {
                Ok(taken) => {
                    sent.bytes += taken;
                    if taken < part.len() {
                        break;
                    }
                }
                Err(_) => {
                    sending.undelivered += events;
                    self.give_up(sending);
                    return sent;
                }
            }
        }
        sent.events = events;
        if sent.bytes < parts[0].len() + parts[1].len() {
            sent.events = sending.unsent.keep_rest(bytes, large, sent.bytes, events);
            self.pending.add(sending.unsent.len());
            self.nudge();
        }
        sending.delivered += sent.events;
        sent
    }

    /// Counts what became of bytes that were unsent.
    fn settle(&self, sending: &mut Sending, unsent: &Unsent) {
        self.metrics.delivered(sending.settle(unsent));
        self.pending.remove(unsent.len());
    }

    fn give_up(&self, sending: &mut Sending) {
        sending.phase = Phase::Failed;
        let unsent = std::mem::take(&mut sending.unsent);
        self.settle(sending, &unsent);
        self.socket.shutdown(Shutdown::Both);
        self.changed.notify_all();
    }

    /// Wakes the writer. When the channel is full the writer is awake, and looks at everything after each item.
    fn nudge(&self) {
        let _ = self.work.try_send(Work::Look);
    }

    /// Hands the subscription's one token to the writer, unless the writer has it already.
    pub(super) fn call_writer(&self, subscription: &Arc<Subscription>) {
        if !subscription.claim_token() {
            return;
        }
        match self.work.try_send(Work::Events(Arc::clone(subscription))) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) if mutated(Mutation::LoseTokenWhenFull) => {}
            Err(TrySendError::Full(_)) => {
                self.ready.lock().push_back(Arc::clone(subscription));
                // The writer may have emptied the channel, and the list, just before the push.
                self.nudge();
            }
        }
    }
}
