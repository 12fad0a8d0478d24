//! The naive model: a topic that keeps every event for ever, and its readers, as the contract describes them.

use crate::config::OverflowPolicy;

/// What a subscriber received.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Received {
    Event(u64),
    Gap(u64, u64, &'static str),
    Deleted,
    /// The overflow policy ends the connection.
    TooSlow,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) history_size: usize,
    pub(super) queue: usize,
    pub(super) bytes: usize,
    pub(super) overflow: OverflowPolicy,
    pub(super) has_ttl: bool,
}

/// One incarnation of a topic, with the size of every event ever published to it.
#[derive(Debug, Clone)]
pub(super) struct NaiveTopic {
    pub(super) bounds: Bounds,
    pub(super) sizes: Vec<usize>,
    /// How many of the oldest events are evicted.
    pub(super) evicted: usize,
    /// How many were fanned out: only these are evicted or skipped.
    pub(super) fanned_out: usize,
    /// How many of the oldest events are older than the time to live.
    pub(super) old: usize,
    /// How many of the oldest events have left the history by age.
    pub(super) expired: usize,
    pub(super) deleted: bool,
}

impl NaiveTopic {
    pub(super) fn head(&self) -> u64 {
        self.sizes.len() as u64
    }

    pub(super) fn retained_bytes(&self) -> usize {
        self.sizes[self.evicted..].iter().sum()
    }

    /// How many of the oldest events are evicted once the log is within its bounds; the newest event never is.
    pub(super) fn evicted_after(&self, sizes: &[usize]) -> usize {
        let kept = self.bounds.history_size.max(self.bounds.queue);
        let fits = |evicted: usize| {
            let bytes: usize = sizes[evicted..].iter().sum();
            sizes.len() - evicted <= kept
                && (bytes <= self.bounds.bytes || sizes.len() - evicted == 1)
        };
        let limit = self.fanned_out.max(self.evicted);
        (self.evicted..limit)
            .find(|evicted| fits(*evicted))
            .unwrap_or(limit)
    }

    /// The last seq before the history: the history is the newest events within both bounds.
    pub(super) fn before_history(&self) -> u64 {
        let fits = |evicted: usize| {
            let bytes: usize = self.sizes[evicted..].iter().sum();
            bytes <= self.bounds.bytes && self.sizes.len() - evicted <= self.bounds.history_size
        };
        let evicted = (self.evicted..self.sizes.len()).find(|evicted| fits(*evicted));
        evicted.unwrap_or(self.sizes.len()).max(self.expired()) as u64
    }

    pub(super) fn expired(&self) -> usize {
        match self.bounds.has_ttl {
            true => self.expired.max(self.old),
            false => self.expired,
        }
    }

    /// The newest event that appending one of this size would evict for the byte bound.
    pub(super) fn pushed_out(&self, size: usize) -> u64 {
        let left = |evicted: usize| self.sizes[evicted..].iter().sum::<usize>() + size;
        let fits =
            (self.evicted..self.sizes.len()).find(|evicted| left(*evicted) <= self.bounds.bytes);
        let evicted = fits.unwrap_or(self.sizes.len());
        if evicted > self.evicted {
            evicted as u64
        } else {
            0
        }
    }
}

/// A subscription as the contract describes it.
#[derive(Debug, Clone)]
pub(super) struct NaiveReader {
    pub(super) after: u64,
    pub(super) live_from: u64,
    /// The newest seq it may read, once it is superseded.
    pub(super) until: Option<u64>,
    pub(super) ended: bool,
}

impl NaiveReader {
    pub(super) fn end(&self, topic: &NaiveTopic) -> u64 {
        self.until.unwrap_or(u64::MAX).min(topic.head())
    }

    /// Reads one event, with the gaps before it and the notice after it.
    pub(super) fn read_one(&mut self, topic: &NaiveTopic) -> Vec<Received> {
        let mut received = Vec::new();
        let mut has_event = false;
        while !self.ended {
            let is_replay = self.after < self.live_from;
            let end = if is_replay {
                self.live_from
            } else {
                self.end(topic)
            };
            let lag = match topic.bounds.overflow {
                OverflowPolicy::Block => 0,
                _ => topic.fanned_out.saturating_sub(topic.bounds.queue) as u64,
            };
            let (kept, reason) = match is_replay {
                true => (topic.evicted as u64, "history_evicted"),
                false => (lag.max(topic.evicted as u64), "slow_consumer"),
            };
            let kept = kept.min(end);
            if self.after < kept {
                if !is_replay && topic.bounds.overflow != OverflowPolicy::DropOldest {
                    received.push(Received::TooSlow);
                    break;
                }
                received.push(Received::Gap(self.after + 1, kept, reason));
                self.after = kept;
            } else if self.after < end {
                if has_event {
                    break;
                }
                has_event = true;
                self.after += 1;
                received.push(Received::Event(self.after));
            } else {
                if topic.deleted && self.until.is_none() {
                    received.push(Received::Deleted);
                    self.ended = true;
                }
                break;
            }
        }
        received
    }
}
