//! The slow path: what the writer thread does, waiting for the peer with no lock held.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use super::{Offered, Outbox, PIECE_BYTES, Phase, Sending, Unsent};
use crate::broker::{Piece, Subscription};
use crate::server::write_deadline::WriteDeadline;
use crate::sync::{Arc, Mutation, mutated};

impl Outbox {
    /// The subscriptions that wait in the ready list.
    pub(in crate::server::websocket) fn take_ready(&self) -> VecDeque<Arc<Subscription>> {
        std::mem::take(&mut self.ready.lock())
    }

    /// The slow path, on the writer thread: gathers one piece of a subscription and writes it, waiting for the peer.
    pub(in crate::server::websocket) fn serve(&self, subscription: &Arc<Subscription>) -> Offered {
        subscription.release_token();
        if !self.write_unsent() {
            return Offered::default();
        }
        let mut sending = self.sending.lock();
        if sending.phase != Phase::Open {
            return Offered::default();
        }
        if !sending.is_idle() {
            // A publisher has found the socket full meanwhile.
            drop(sending);
            self.call_writer(subscription);
            return Offered::default();
        }
        let (piece, progress) = subscription.gather(PIECE_BYTES);
        let lagged = subscription.lags();
        if lagged {
            let before = sending.unsent.len();
            sending.unsent.append_piece(piece, progress.events);
            self.pending.add(sending.unsent.len() - before);
        } else {
            // Without waiting, at first: a socket counts as full only when it has refused something.
            self.try_piece(&mut sending, &piece, progress.events);
            subscription.set_lags(progress.more && !sending.is_idle());
        }
        drop(sending);
        if progress.ended {
            self.changed.notify_all();
        }
        if progress.more {
            // Behind the others that wait.
            self.call_writer(subscription);
        }
        let is_written = self.write_unsent();
        if is_written && lagged && !progress.more {
            let _sending = self.sending.lock();
            subscription.set_lags(false);
        }
        if is_written && progress.oldest_micros > 0 {
            let latency = &self.metrics.writer_latency;
            latency.observe_since(progress.oldest_micros);
        }
        progress.into()
    }

    fn try_piece(&self, sending: &mut Sending, piece: &Piece, events: u64) {
        let Piece { bytes, large } = piece;
        let sent = self.try_send(sending, bytes, large.as_ref(), events);
        if sent.bytes > 0 {
            self.metrics.written(sent.bytes);
            self.metrics.delivered(sent.events);
        }
    }

    /// Writes what is unsent, on the writer thread; `false` once the socket is of no more use.
    pub(in crate::server::websocket) fn write_unsent(&self) -> bool {
        loop {
            let mut unsent = {
                let mut sending = self.sending.lock();
                if sending.unsent.is_empty() || sending.phase == Phase::Failed {
                    return sending.phase != Phase::Failed;
                }
                sending.writing = true;
                std::mem::take(&mut sending.unsent)
            };
            let written = catch_unwind(AssertUnwindSafe(|| self.write_in_time(&mut unsent)));
            let mut sending = self.sending.lock();
            sending.writing = false;
            let written = match written {
                Ok(written) => written,
                Err(panic) => {
                    // The close frame that will follow must not stand in the middle of another.
                    sending.unsent.put_in_front(unsent);
                    drop(sending);
                    resume_unwind(panic);
                }
            };
            self.settle(&mut sending, &unsent);
            if let Err(error) = written {
                let kind = error.kind();
                sending.timed_out =
                    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                self.give_up(&mut sending);
            }
            drop(sending);
            if !mutated(Mutation::WriteSilently) {
                self.changed.notify_all();
            }
        }
    }

    /// Once the close frame is written: says that nothing follows, and waits for the reader to see the peer's end, at
    /// most `linger`; a socket dropped earlier could lose the close frame to a reset.
    pub(in crate::server::websocket) fn finish(&self, linger: Duration) {
        self.socket.shutdown(Shutdown::Write);
        let deadline = Instant::now() + linger;
        let mut sending = self.sending.lock();
        while !sending.reader_gone && !self.changed.wait_until(&mut sending, deadline).timed_out() {
        }
        self.give_up(&mut sending);
    }

    /// Writes with blocking sends, each of a bounded wait, until the peer takes too little ([`WriteDeadline`]).
    fn write_in_time(&self, unsent: &mut Unsent) -> io::Result<()> {
        let mut deadline = WriteDeadline::new(self.write_timeout, Instant::now());
        while !unsent.rest().is_empty() {
            tracing::trace!(bytes = unsent.len(), "writing");
            let wait = deadline.next_wait(Instant::now())?;
            let wait = wait.min(self.max_wait.get());
            let sent = match self.socket.send_within(unsent.rest(), wait) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                sent => sent?,
            };
            deadline.taken(sent, Instant::now());
            if sent > 0 {
                self.metrics.written(sent);
                self.last_written.is_now();
            }
            unsent.advance(sent);
            self.pending.remove(sent);
        }
        Ok(())
    }
}
