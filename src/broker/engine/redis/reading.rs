//! Read access to the cluster: histories, figures and lists, joined from all Redis.

use super::members::node::NodeInfo;
use super::topics::history::Found;
use super::{Redis, members, topics};
use crate::broker::engine::{Counts, Unavailable};
use crate::broker::epoch::Epochs;
use crate::broker::history::{Ahead, HistoryError, HistoryPage, find_start};
use crate::broker::registry::TopicError;
use crate::broker::topic::{SubscriberList, TopicStats};
use crate::protocol::{StartAt, TopicName};

impl Redis {
    pub(crate) fn read_history<R>(
        &self,
        name: &TopicName,
        start_at: &StartAt,
        look: impl FnOnce(&HistoryPage<'_>) -> R,
    ) -> Result<Result<R, HistoryError>, TopicError> {
        let read = topics::history::read(self.shard(name)?, name, start_at)?;
        let Found {
            log,
            epoch,
            expired,
        } = read.ok_or(TopicError::NotFound)?;
        let epochs = Epochs::new(epoch);
        let epoch = epochs.current();
        let start = find_start(expired, &log, epoch, start_at, Ahead::IsForeign);
        Ok(start.map(|start| look(&HistoryPage::new(&log, epoch, start))))
    }

    pub(crate) fn stats(&self, name: &TopicName) -> Result<TopicStats, TopicError> {
        let topics = std::slice::from_ref(name);
        let mut stats = self.figures.read(self.shard(name)?, topics)?;
        stats
            .pop()
            .map(|(_, stats)| stats)
            .ok_or(TopicError::NotFound)
    }

    pub(crate) fn subscriber_count(&self, name: &TopicName) -> Result<usize, TopicError> {
        members::subscribers::count(self.shard(name)?, name)
    }

    pub(crate) fn list_subscribers(
        &self,
        name: &TopicName,
        limit: usize,
    ) -> Result<SubscriberList, TopicError> {
        members::subscribers::list(self.shard(name)?, name, limit)
    }

    /// The figures of all topics, by name. A topic that is deleted meanwhile is left out.
    pub(crate) fn all_stats(&self) -> Result<Vec<(TopicName, TopicStats)>, Unavailable> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend(self.figures.read(shard, &topics::names(shard)?)?);
        }
        all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        self.figures.retain(&all);
        Ok(all)
    }

    /// The names of all topics and their numbers of subscribers, by name.
    pub(crate) fn list(&self) -> Result<Vec<(TopicName, usize)>, Unavailable> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend(topics::list(shard)?);
        }
        all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(all)
    }

    /// All nodes that live, by id.
    pub(crate) fn nodes(&self) -> Result<Vec<NodeInfo>, Unavailable> {
        let shard = &self.shards[0];
        shard.check_up()?;
        members::node::list(shard)
    }

    /// Topics and subscriptions of the cluster; as last known, at most some seconds before, while a Redis is away.
    pub(crate) fn counts(&self) -> Counts {
        // What cannot be asked now is as the keepers knew it last.
        let _ = self.count();
        Counts {
            topics: self.shards.iter().map(|shard| shard.topic_count()).sum(),
            subscriptions: self.shards[0].subscription_count(),
        }
    }

    fn count(&self) -> Result<(), Unavailable> {
        for shard in &self.shards {
            shard.count_topics()?;
        }
        self.nodes().map(drop)
    }
}
