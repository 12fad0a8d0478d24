//! Read access to a topic: its figures and its history.

use super::{Lifetimes, State, Topic, TopicSettings};
use crate::broker::Subscription;
use crate::broker::epoch::Epoch;
use crate::broker::history::{HistoryError, HistoryPage, find_start};
use crate::broker::log::Log;
use crate::broker::mirror::Place;
use crate::config::OverflowPolicy;
use crate::protocol::{ClientId, EpochName, StartAt, Timestamp, UserName};
use crate::sync::{Arc, Ordering};

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
    pub(crate) lifetimes: Lifetimes,
    /// Events skipped for slow subscribers, counted once for each.
    pub(crate) dropped: u64,
}

/// Who is subscribed to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubscriberList {
    /// How many they are; more than are listed if the list is cut.
    pub(crate) total: usize,
    /// By client id.
    pub(crate) listed: Vec<ListedSubscriber>,
}

/// One of those who are subscribed to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedSubscriber {
    pub(crate) client_id: ClientId,
    /// When the subscription began.
    pub(crate) since: Timestamp,
    /// The user of its token, if that names one.
    pub(crate) user: Option<UserName>,
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
        let (expired, ahead) = (state.expired(), self.ahead());
        let start = find_start(expired, &state.log, epoch, start_at, ahead)?;
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

    /// Calls `see` with each subscription, with no lock held.
    pub(crate) fn each_subscription(&self, see: impl FnMut(&Arc<Subscription>)) {
        if self.subscriber_count() > 0 {
            self.subscribers().iter().for_each(see);
        }
    }

    /// Lists at most `limit` subscribers. They are sorted with no lock held.
    pub(crate) fn list_subscribers(&self, limit: usize) -> SubscriberList {
        let subscribers = self.subscribers();
        let mut listed: Vec<_> = subscribers.iter().collect();
        if limit < listed.len() {
            listed.select_nth_unstable_by(limit, |a, b| a.client_id().cmp(b.client_id()));
            listed.truncate(limit);
        }
        listed.sort_unstable_by(|a, b| a.client_id().cmp(b.client_id()));
        let line = |subscription: &Arc<Subscription>| ListedSubscriber {
            client_id: subscription.client_id().clone(),
            since: subscription.since(),
            user: subscription.user(),
        };
        SubscriberList {
            total: subscribers.len(),
            listed: listed.into_iter().map(line).collect(),
        }
    }

    pub(crate) fn stats(&self) -> TopicStats {
        let state = self.state.read();
        let epoch = state.epochs.current();
        let settings = self.settings_in(&state);
        let history = HistoryFigures::of(&state.log, epoch, state.expired());
        TopicStats {
            subscribers: state.subscribers.len(),
            dropped: self.dropped(),
            ..TopicStats::new(
                epoch.name(),
                epoch.seq(state.log.head()),
                history,
                &settings,
            )
        }
    }

    /// The figures of the whole topic, if this is a mirror of it that is at this place, has these settings, and surely has its
    /// whole history: the memory budget may have evicted the oldest part, and events that could not be read were skipped.
    pub(crate) fn stats_at(&self, place: &Place, there: &TopicSettings) -> Option<TopicStats> {
        let state = self.state.read();
        let mirror = state.mirror.as_ref().filter(|_| !state.deleted)?;
        let (log, epoch) = (&state.log, state.epochs.current());
        let has_all = log.first_seq() <= epoch.start + 1 && epoch.seq(epoch.start) == 0;
        let expired = state.expired();
        // What was evicted because of its age is no part of the history.
        let is_whole = has_all || log.covers_history() || log.first_seq() <= expired + 1;
        let settings = self.settings_in(&state);
        let is_up_to_date = mirror.place() == place && settings == *there;
        (is_up_to_date && is_whole).then(|| {
            let history = HistoryFigures::of(log, epoch, expired);
            TopicStats {
                dropped: self.dropped(),
                ..TopicStats::new(epoch.name(), epoch.seq(log.head()), history, &settings)
            }
        })
    }

    /// The settings as they are now.
    pub(in crate::broker) fn settings(&self) -> TopicSettings {
        self.settings_in(&self.state.read())
    }

    pub(super) fn settings_in(&self, state: &State) -> TopicSettings {
        TopicSettings {
            bounds: state.log.bounds(),
            overflow: self.overflow(),
            block_timeout: self.settings.block_timeout,
            idempotency_window: self.settings.idempotency_window,
            lifetimes: state.expiry.lifetimes(),
        }
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

impl HistoryFigures {
    /// What of a log can be replayed when everything up to `expired` has left the history by age.
    fn of(log: &Log, epoch: &Epoch, expired: u64) -> HistoryFigures {
        let before = (log.history_start() - 1).max(epoch.start).max(expired);
        let oldest = log.after(before).next();
        HistoryFigures {
            count: (log.head() - before) as usize,
            bytes: log.bytes_after(before),
            first_ts: oldest.map(|event| event.ts().to_owned()),
        }
    }
}

impl TopicStats {
    /// What a log tells of its topic.
    #[cfg(test)]
    pub(in crate::broker) fn of(log: &Log, epoch: &Epoch, settings: &TopicSettings) -> TopicStats {
        let history = HistoryFigures::of(log, epoch, 0);
        TopicStats::new(epoch.name(), epoch.seq(log.head()), history, settings)
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
            lifetimes: settings.lifetimes,
            dropped: 0,
        }
    }
}
