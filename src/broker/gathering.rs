//! From a cursor towards the head: which events come next, and what must be told of those that do not.

use super::Subscription;
use super::log::{Log, Run};
use super::piece::Piece;
use crate::config::OverflowPolicy;
use crate::protocol::{Gap, Notice, push_gap, push_notice};
use crate::sync::{Mutation, mutated};

/// What a gathering brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// How many events were appended.
    pub(crate) events: u64,
    /// When the oldest of them that is no replay was published, in microseconds since 1970; 0 when there is none.
    pub(crate) oldest_micros: u64,
    /// How many events were skipped for slowness.
    pub(crate) dropped: u64,
    /// The limit cut it short: there is more to gather.
    pub(crate) more: bool,
    /// The topic was deleted and everything has been told: the subscription has ended.
    pub(crate) ended: bool,
    /// The policy does not let this subscription go on: its connection must end.
    pub(crate) overflowed: bool,
}

/// Gathers up to about `limit_bytes` (at least one event) from a position; returns the position reached. Called under
/// the cursor's lock.
pub(super) fn gather(
    subscription: &Subscription,
    after: u64,
    live_from: u64,
    piece: &mut Piece,
    limit_bytes: usize,
) -> (Progress, u64) {
    let mut gathering = Gathering {
        subscription,
        after,
        piece,
        limit_bytes,
        progress: Progress::default(),
    };
    gathering.run(live_from);
    (gathering.progress, gathering.after)
}

/// One pass from a cursor towards the head.
struct Gathering<'a> {
    subscription: &'a Subscription,
    after: u64,
    piece: &'a mut Piece,
    limit_bytes: usize,
    progress: Progress,
}

impl Gathering<'_> {
    fn run(&mut self, live_from: u64) {
        let topic = self.subscription.topic();
        topic.read(|log, deleted| {
            let end = self.subscription.end_of(log.head());
            if self.after < live_from {
                self.replay(log, live_from);
            }
            if self.after >= live_from && !self.piece.is_complete() {
                self.live(log, end);
            }
            // A newer one in its place is told of the deletion; this one has ended before it.
            let is_told = deleted && !self.subscription.is_superseded();
            let at_the_end = is_told && self.after == log.head();
            if at_the_end && !self.piece.is_complete() {
                push_notice(
                    &mut self.piece.bytes,
                    Notice::TopicDeleted {
                        topic: topic.name(),
                    },
                );
                self.progress.ended = true;
            }
            let has_more = self.after < end || (at_the_end && !self.progress.ended);
            self.progress.more = has_more && !self.progress.overflowed;
        });
    }

    /// The part up to the head at subscribing: cut only by eviction.
    fn replay(&mut self, log: &Log, live_from: u64) {
        let lost = (log.first_seq() - 1).min(live_from);
        if self.after < lost {
            self.tell(Gap::history_evicted(self.after + 1, lost));
        }
        self.copy(log, live_from);
    }

    /// The part behind it: at most a queue's worth of the newest that was offered, and all that was not.
    fn live(&mut self, log: &Log, end: u64) {
        let topic = self.subscription.topic();
        let kept = (log.first_seq() - 1).max(topic.queue_start()).min(end);
        if self.after < kept {
            if topic.overflow() != OverflowPolicy::DropOldest {
                self.progress.overflowed = true;
                return;
            }
            self.progress.dropped = kept - self.after;
            self.subscription.count_dropped(self.progress.dropped);
            self.tell(Gap::slow_consumer(self.after + 1, kept));
        }
        if let Some(event) = log.after(self.after).next() {
            self.progress.oldest_micros = event.ts_micros();
        }
        self.copy(log, end);
    }

    fn tell(&mut self, gap: Gap) {
        let topic = self.subscription.topic();
        topic.metrics().gaps.count(gap.reason.as_str());
        if !mutated(Mutation::SkipUntold) {
            push_gap(&mut self.piece.bytes, topic.name(), &gap);
        }
        self.after += gap.count();
    }

    /// Copies events, as many as lie together at once. The first one is taken whatever its size.
    fn copy(&mut self, log: &Log, upto: u64) {
        while !self.piece.is_complete() {
            let is_first = self.progress.events == 0;
            let left = self.limit_bytes.saturating_sub(self.piece.bytes.len());
            let run = match log.run(self.after, upto, left) {
                Some(Run::Small { events: 0, .. }) if is_first => {
                    log.run(self.after, self.after + 1, usize::MAX)
                }
                run => run,
            };
            let events = match run {
                None | Some(Run::Small { events: 0, .. }) => break,
                Some(Run::Small { frames, events }) => {
                    self.piece.bytes.extend_from_slice(frames);
                    events
                }
                Some(Run::Large(frame)) => {
                    self.piece.large = Some(frame.clone());
                    1
                }
            };
            self.after += events;
            self.progress.events += events;
        }
    }
}
