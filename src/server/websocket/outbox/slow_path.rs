//! The slow path: blocking sends on the writer thread. It waits for the peer with no lock held.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use super::{CHUNK_BYTES, Outbox, Phase, State, Unsent};
use crate::broker::{Chunk, PresenceBatch, Progress, Subscription};
use crate::server::write_deadline::WriteDeadline;
use crate::sync::{Arc, Ordering};

/// How many blocking sends fit into the time that a publisher waits for this connection.
const SENDS_PER_TIMEOUT: u32 = 8;

impl Outbox {
    /// Takes the subscriptions out of the overflow list.
    pub(in crate::server::websocket) fn take_overflow(&self) -> VecDeque<Arc<Subscription>> {
        std::mem::take(&mut self.overflow.lock())
    }

    /// Called for a subscription to a topic whose publishers wait at most this long for the peer. Limits a blocking send to a
    /// part of that time, so that publishers see whether the peer takes something.
    pub(in crate::server::websocket) fn may_hold_publishers(&self, block_timeout: Duration) {
        let micros = (block_timeout / SENDS_PER_TIMEOUT).as_micros() as u64;
        self.max_send_micros
            .fetch_min(micros.max(1), Ordering::Relaxed);
    }

    /// Reads one chunk of a subscription's events and writes it, and waits for the peer.
    pub(in crate::server::websocket) fn write_events(
        &self,
        subscription: &Arc<Subscription>,
    ) -> Progress {
        subscription.unschedule();
        if !self.write_unsent() {
            return Progress::default();
        }
        let mut state = self.state.lock();
        if self.phase() != Phase::Open {
            return Progress::default();
        }
        if subscription.watches() && self.is_idle(&state) {
            self.append_presence(&mut state, subscription, &mut PresenceBatch::default());
        }
        if !self.is_idle(&state) {
            // Meanwhile the socket refused bytes, of another thread or of the presence.
            drop(state);
            self.schedule_writer(subscription);
            return Progress::default();
        }
        let (chunk, progress) = state.cursors.read_chunk(subscription, CHUNK_BYTES);
        let lagged = subscription.lags();
        if lagged {
            let before = state.unsent.len();
            state.unsent.append_chunk(chunk, progress.events);
            self.pending_bytes
                .fetch_add(state.unsent.len() - before, Ordering::Relaxed);
        } else {
            // Tried without waiting first: a subscription lags only once the socket has refused bytes.
            self.try_chunk(&mut state, &chunk, progress.events);
            subscription.set_lags(progress.more && !self.is_idle(&state));
        }
        drop(state);
        self.cursor_moved(subscription, progress);
        if progress.more {
            // After the other scheduled subscriptions.
            self.schedule_writer(subscription);
        }
        let is_written = self.write_unsent();
        if is_written && lagged && !progress.more {
            let _state = self.state.lock();
            subscription.set_lags(false);
        }
        if is_written && progress.oldest_micros > 0 {
            let latency = &self.metrics.writer_latency;
            latency.observe_since(progress.oldest_micros);
        }
        progress
    }

    fn try_chunk(&self, state: &mut State, chunk: &Chunk, events: u64) {
        let Chunk { bytes, large, .. } = chunk;
        let sent = self.try_send(state, bytes, large.as_ref(), events);
        if sent.bytes > 0 {
            self.metrics.written(self.protocol(), sent.bytes);
            self.metrics.delivered(sent.events);
        }
    }

    /// Writes the unsent bytes. Returns `false` once the connection is aborted. Only on the writer thread.
    pub(in crate::server::websocket) fn write_unsent(&self) -> bool {
        loop {
            let mut unsent = {
                let mut state = self.state.lock();
                if state.unsent.is_empty() || self.phase() == Phase::Aborted {
                    return self.phase() != Phase::Aborted;
                }
                state.writing = true;
                state.unsent.take()
            };
            let written = catch_unwind(AssertUnwindSafe(|| self.write_in_time(&mut unsent)));
            let mut state = self.state.lock();
            state.writing = false;
            let written = match written {
                Ok(written) => written,
                Err(panic) => {
                    // Put back, so that the close frame does not follow a partial frame.
                    state.unsent.put_in_front(unsent);
                    drop(state);
                    resume_unwind(panic);
                }
            };
            self.count_outcome(&mut state, &unsent);
            if let Err(error) = written {
                let kind = error.kind();
                state.timed_out =
                    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                self.abort_locked(&mut state);
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Called after the close frame is written. Shuts down sending, and waits at most this long until the reader has seen the
    /// peer close. If the socket were dropped earlier, a reset could destroy the close frame.
    pub(in crate::server::websocket) fn linger(&self, time: Duration) {
        self.transport.shutdown(Shutdown::Write);
        let deadline = Instant::now() + time;
        let mut state = self.state.lock();
        while !state.reader_left && !self.changed.wait_until(&mut state, deadline).timed_out() {}
        self.abort_locked(&mut state);
    }

    /// Writes with blocking sends of bounded length. Fails if the peer takes too little in time ([`WriteDeadline`]).
    fn write_in_time(&self, unsent: &mut Unsent) -> io::Result<()> {
        let mut deadline = WriteDeadline::new(self.write_timeout, Instant::now());
        while !unsent.rest().is_empty() {
            tracing::trace!(bytes = unsent.len(), "writing");
            let wait = deadline.next_wait(Instant::now())?;
            let wait = wait.min(Duration::from_micros(
                self.max_send_micros.load(Ordering::Relaxed),
            ));
            let sent = match self.transport.send_within(unsent.rest(), wait) {
                Err(error) if is_nothing(&error) => continue,
                sent => sent?,
            };
            deadline.taken(sent, Instant::now());
            if sent > 0 {
                self.metrics.written(self.protocol(), sent);
                self.last_written.set_now();
            }
            unsent.advance(sent);
            self.pending_bytes.fetch_sub(sent, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Whether a send took nothing, and another one may.
fn is_nothing(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
