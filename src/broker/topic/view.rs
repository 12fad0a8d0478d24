//! Read access to a topic: its figures and its history.

use super::{Topic, TopicSettings};
use crate::broker::epoch::Epoch;
use crate::broker::history::{HistoryError, HistoryPage, find_start};
use crate::broker::log::Log;
use crate::broker::mirror::Place;
use crate::config::OverflowPolicy;
use crate::protocol::{EpochName, StartAt};
use crate::sync::Ordering;

/// Figures of a topic, for REST and the dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicStats {
    pub(crate) epoch: EpochName,
    pub(crate) subscribers: usize,
    /// Publishes since the topic was created.
    pub(crate) messages: u64,
    pub(crate) seq: u64,
    pub(crate) history_count: usize,
    pub(crate) history_bytes: usize,
    pub(crate) history_first_seq: Option<u64>,
    pub(crate) history_first_ts: Option<String>,
    pub(crate) overflow: OverflowPolicy,
    pub(crate) history_size: usize,
    pub(crate) max_history_bytes: usize,
    pub(crate) max_queue_size: usize,
    /// Events skipped for slow subscribers, counted once for each.
    pub(crate) dropped: u64,
}

impl Topic {
    /// Calls `look` with the requested part of the history. The topic is locked meanwhile, so `look` may only copy.
    pub(crate) fn look_at_history<R>(
        &self,
        start_at: &StartAt,
        look: impl FnOnce(&HistoryPage<'_>) -> R,
    ) -> Result<R, HistoryError> {
        let state = self.state.read();
        let epoch = state.epochs.current();
        let start = find_start(&state.log, epoch, start_at, self.ahead())?;
        Ok(look(&HistoryPage::new(&state.log, epoch, start)))
    }

    /// Publishes since the topic was created.
    pub(crate) fn message_count(&self) -> u64 {
        let state = self.state.read();
        state.epochs.current().seq(state.log.head())
    }

    /// Events skipped for slow subscribers, counted once for each.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Bytes of retained events.
    pub(crate) fn history_bytes(&self) -> usize {
        self.retained_bytes()
    }

    /// Calls `see` with the lag of each subscription, with no lock held.
    pub(crate) fn each_lag(&self, see: impl FnMut(u64)) {
        if self.subscriber_count() > 0 {
            let subscribers = self.subscribers();
            subscribers.iter().filter_map(|s| s.lag()).for_each(see);
        }
    }

    pub(crate) fn stats(&self) -> TopicStats {
        let state = self.state.read();
        let stats = TopicStats::of(&state.log, state.epochs.current(), &self.settings);
        TopicStats {
            subscribers: state.subscribers.len(),
            dropped: self.dropped(),
            ..stats
        }
    }

    /// The figures of the whole topic, if this is a mirror of it that is at this place and surely has its whole history: the
    /// memory budget may have evicted the oldest part, and events that could not be read were skipped.
    pub(crate) fn stats_at(&self, place: &Place) -> Option<TopicStats> {
        let state = self.state.read();
        let mirror = state.mirror.as_ref().filter(|_| !state.deleted)?;
        let (log, epoch) = (&state.log, state.epochs.current());
        let has_all = log.first_seq() <= epoch.start + 1 && epoch.seq(epoch.start) == 0;
        let is_whole = has_all || log.covers_history();
        (mirror.place() == place && is_whole).then(|| TopicStats {
            dropped: self.dropped(),
            ..TopicStats::of(log, epoch, &self.settings)
        })
    }
}

/// What of a topic can be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::broker) struct HistoryFigures {
    pub(in crate::broker) count: usize,
    pub(in crate::broker) bytes: usize,
    /// The time of the oldest event.
    pub(in crate::broker) first_ts: Option<String>,
}

impl TopicStats {
    /// What a log tells of its topic.
    pub(in crate::broker) fn of(log: &Log, epoch: &Epoch, settings: &TopicSettings) -> TopicStats {
        let head = log.head();
        let first = log.history_start().max(epoch.start + 1);
        let oldest = log.after(first - 1).next();
        let history = HistoryFigures {
            count: (head + 1 - first) as usize,
            bytes: log.bytes_after(first - 1),
            first_ts: oldest.map(|event| event.ts().to_owned()),
        };
        TopicStats::new(epoch.name(), epoch.seq(head), history, settings)
    }

    /// The figures of a topic without subscribers.
    pub(in crate::broker) fn new(
        epoch: EpochName,
        seq: u64,
        history: HistoryFigures,
        settings: &TopicSettings,
    ) -> TopicStats {
        let bounds = settings.bounds;
        TopicStats {
            epoch,
            subscribers: 0,
            messages: seq,
            seq,
            history_count: history.count,
            history_bytes: history.bytes,
            history_first_seq: (history.count > 0).then(|| seq + 1 - history.count as u64),
            history_first_ts: history.first_ts,
            overflow: settings.overflow,
            history_size: bounds.history_size,
            max_history_bytes: bounds.bytes,
            max_queue_size: bounds.max_queue_size,
            dropped: 0,
        }
    }
}
