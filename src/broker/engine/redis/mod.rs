//! The cluster over Redis: topics, their numbers and their history are in Redis; each node mirrors the topics that its clients
//! are subscribed to.
//!
//! In reading order: [`shard`] is one Redis, [`keeper`] the thread that connects to it ([`connect`]), perhaps where its
//! [`sentinels`] say; commands go over a [`lane`], messages come over the [`link`]. [`publishes`] numbers batches; [`apply`]
//! appends what comes over the link, and [`catch_up`] what did not come. [`topics`] are created, deleted and listed,
//! [`deletions`] and [`runs`] of Redis remembered. A subscription is [`joining`] its topic, whose mirror is one of the
//! [`mirrors`]; [`owners`] says who is subscribed where, [`owned`] mends it, [`node`] says which nodes live. [`records`] and
//! entries of topics come from Redis as one [`reading`]: for [`figures`], which are kept as [`event_sizes`], and for the
//! [`history`].
//!
//! Each lock here is taken alone, except that a command may be sent under the lock of a lane's connection. None is held while
//! a topic's lock is taken.

mod apply;
mod catch_up;
mod connect;
mod deletions;
mod event_sizes;
mod figures;
mod group_commit;
mod health;
mod history;
mod joining;
mod keeper;
mod keys;
mod lane;
mod link;
mod metrics;
mod mirrors;
#[cfg(all(test, shuttle))]
pub(crate) mod model;
mod node;
mod owned;
mod owners;
mod publishes;
mod reading;
mod records;
mod ring;
mod runs;
mod scripts;
mod sentinels;
mod shard;
mod topics;

use std::io;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, bounded, unbounded};
use parking_lot::Mutex;

use self::apply::Appliers;
use self::connect::Dialer;
use self::figures::Figures;
use self::keeper::{Event, Keeper};
use self::keys::Keys;
use self::mirrors::Mirrors;
use self::node::Node;
use self::ring::Ring;
use self::shard::{Parts, Shard, State};
use super::{Counts, Unavailable};
use crate::broker::ReadBatch;
use crate::broker::epoch::Epochs;
use crate::broker::history::{Ahead, HistoryError, HistoryPage, find_start};
use crate::broker::local_topics::LocalTopics;
use crate::broker::mirror::Batch;
use crate::broker::registry::{CreateError, TopicError};
use crate::broker::topic::{Departure, PublishError, Published, TopicSettings, TopicStats};
use crate::config::{OverflowPolicy, RedisUrl};
use crate::protocol::{Message, StartAt, Timestamp, TopicName};
use crate::sync::{Arc, AtomicUsize};

pub(crate) use self::connect::TlsFiles;
pub(crate) use self::metrics::EngineMetrics;
pub(crate) use self::node::NodeInfo;
pub(crate) use self::publishes::{BatchError, Receipt};

/// A node of the cluster.
pub(crate) struct Redis {
    shards: Vec<Arc<Shard>>,
    ring: Arc<Ring>,
    metrics: Arc<EngineMetrics>,
    appliers: Arc<Appliers>,
    departures: Sender<Departure>,
    /// Dropped when no further subscription can end.
    leaving: Mutex<Option<Sender<()>>>,
    mirrors: Mirrors,
    figures: Figures,
    keepers: Vec<Sender<Event>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    last_counts: Mutex<Counts>,
}

/// What a node needs to know to take part.
pub(crate) struct NodeOptions<'a> {
    pub(crate) urls: &'a [RedisUrl],
    pub(crate) prefix: &'a str,
    pub(crate) tls_files: TlsFiles,
    /// Where clients reach this node.
    pub(crate) address: String,
    /// How many connections it has.
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Redis {
    /// Starts the threads of a node. They connect by themselves, and go on trying.
    pub(crate) fn start(
        options: NodeOptions<'_>,
        topics: &Arc<LocalTopics>,
    ) -> io::Result<Arc<Redis>> {
        let metrics = Arc::new(EngineMetrics::default());
        let node = Arc::new(Node::new(options.address, options.connections, topics));
        let (appliers, mut threads) = Appliers::start(topics)?;
        let ring = Arc::new(Ring::new(options.urls.len()));
        let mut shards = Vec::new();
        let mut keepers = Vec::new();
        for (at, url) in options.urls.iter().enumerate() {
            let (events, received) = unbounded();
            let shard = Arc::new(Shard::new(Parts {
                at,
                ring: Arc::clone(&ring),
                url: url.clone(),
                keys: Keys::new(options.prefix),
                node: Arc::clone(&node),
                topics: Arc::clone(topics),
                appliers: Arc::clone(&appliers),
                metrics: Arc::clone(&metrics),
                events: events.clone(),
            }));
            let mut keeper = Keeper {
                shard: Arc::clone(&shard),
                dialer: Dialer::new(url, &options.tls_files),
                events: received,
            };
            threads.push(named(format!("redis-{at}"), move || keeper.run())?);
            shards.push(shard);
            keepers.push(events);
        }
        let (departures, departed) = unbounded();
        let (leaving, has_left) = bounded(0);
        let of_leaves = shards.clone();
        let leave = move || joining::leave_all(&of_leaves, &departed, &has_left);
        threads.push(named("redis-leave".to_owned(), leave)?);
        Ok(Arc::new(Redis {
            shards,
            ring,
            metrics,
            appliers,
            departures,
            leaving: Mutex::new(Some(leaving)),
            mirrors: Mirrors::default(),
            figures: Figures::default(),
            keepers,
            threads: Mutex::new(threads),
            last_counts: Mutex::default(),
        }))
    }

    /// Leaves the cluster, and ends all threads. Called when all subscriptions have ended.
    pub(crate) fn stop(&self) {
        drop(self.leaving.lock().take());
        for keeper in &self.keepers {
            let _ = keeper.send(Event::Stop);
        }
        let mut threads = std::mem::take(&mut *self.threads.lock());
        // The first ones are the appliers, which the others still need.
        let others = threads.split_off(self.appliers.count());
        for thread in others {
            let _ = thread.join();
        }
        self.appliers.stop();
        for thread in threads {
            let _ = thread.join();
        }
    }

    fn shard(&self, topic: &TopicName) -> Result<&Arc<Shard>, Unavailable> {
        let at = self.ring.shard_of(topic).ok_or(Unavailable)?;
        Ok(&self.shards[at])
    }

    /// Whether every Redis can be used.
    pub(crate) fn is_up(&self) -> bool {
        self.shards.iter().all(|shard| shard.state() == State::Up)
    }

    /// Why a Redis cannot be used, or what is wrong with its settings: one line for people.
    pub(crate) fn problem(&self) -> Option<String> {
        self.shards.iter().find_map(|shard| shard.problem())
    }

    pub(crate) fn metrics(&self) -> &EngineMetrics {
        &self.metrics
    }

    pub(crate) fn create(
        &self,
        topic: &TopicName,
        settings: TopicSettings,
        max_topics: usize,
    ) -> Result<(), CreateError> {
        if settings.overflow == OverflowPolicy::Block {
            return Err(CreateError::NoBlockInCluster);
        }
        let shard = self.shard(topic).map_err(|_| CreateError::Unavailable)?;
        let others = self.shards.iter().filter(|other| other.at != shard.at);
        let elsewhere = others.map(|other| other.topic_count()).sum();
        topics::create(shard, topic, &settings, max_topics, elsewhere)
    }

    pub(crate) fn delete(&self, topic: &TopicName) -> Result<bool, Unavailable> {
        topics::delete(self.shard(topic)?, topic)
    }

    /// Publishes batches of different topics, and appends them to the mirrors on this node, which the caller must fan out.
    /// Returns a result for each.
    pub(crate) fn publish(&self, batches: Vec<Batch>) -> Vec<Result<Receipt, BatchError>> {
        let mut results = vec![Err(BatchError::Unavailable); batches.len()];
        let mut by_shard: Vec<(Vec<usize>, Vec<Batch>)> =
            vec![Default::default(); self.shards.len()];
        for (at, batch) in batches.into_iter().enumerate() {
            let Some(shard) = self.ring.shard_of(batch.topic()) else {
                continue;
            };
            let (places, batches) = &mut by_shard[shard];
            places.push(at);
            batches.push(batch);
        }
        for (shard, (places, batches)) in self.shards.iter().zip(by_shard) {
            if batches.is_empty() || shard.check_up().is_err() {
                continue;
            }
            for (at, result) in places.iter().zip(shard.publishes.publish(batches)) {
                if let Ok(receipt) = &result
                    && let Some(mirror) = receipt.mirror.as_ref().filter(|_| receipt.is_late)
                {
                    self.appliers.late(shard, Arc::clone(mirror));
                }
                results[*at] = result;
            }
        }
        results
    }

    /// Publishes one message, and fans it out on this node.
    pub(crate) fn publish_one(
        &self,
        name: &str,
        message: &Message<'_>,
        arrived: Timestamp,
        scratch: &mut ReadBatch,
    ) -> Result<Published, PublishError> {
        let name = TopicName::new(name).map_err(|_| PublishError::NotFound)?;
        let mut batch = Batch::new(name);
        batch.push(message, arrived);
        let event_bytes = batch.bytes().len();
        let receipt = match self.publish(vec![batch]).pop() {
            Some(Ok(receipt)) => receipt,
            Some(Err(BatchError::NotFound)) => return Err(PublishError::NotFound),
            Some(Err(BatchError::Unavailable)) | None => return Err(PublishError::Unavailable),
        };
        if let Some(mirror) = &receipt.mirror {
            mirror.fan_out(scratch);
        }
        Ok(Published {
            epoch: receipt.epoch,
            seq: receipt.first,
            ts: Timestamp::from_micros(receipt.earliest.max(arrived.micros())),
            event_bytes,
        })
    }

    pub(crate) fn read_history<R>(
        &self,
        name: &TopicName,
        start_at: &StartAt,
        look: impl FnOnce(&HistoryPage<'_>) -> R,
    ) -> Result<Result<R, HistoryError>, TopicError> {
        let read = history::read(self.shard(name)?, name, start_at)?;
        let (log, epoch) = read.ok_or(TopicError::NotFound)?;
        let epochs = Epochs::new(epoch);
        let epoch = epochs.current();
        let start = find_start(&log, epoch, start_at, Ahead::IsForeign);
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
        node::list(shard)
    }

    /// Topics and subscriptions of the cluster; as last known while a Redis is away.
    pub(crate) fn counts(&self) -> Counts {
        if let Ok(counts) = self.count() {
            *self.last_counts.lock() = counts;
        }
        *self.last_counts.lock()
    }

    fn count(&self) -> Result<Counts, Unavailable> {
        let mut topics = 0;
        for shard in &self.shards {
            let mut count = ::redis::cmd("SCARD");
            count.arg(shard.keys.topics());
            topics += shard.call(&[count])?.first().map_or(0, owners::count);
        }
        let nodes = self.nodes()?;
        let subscriptions = nodes.iter().map(|node| node.subscriptions).sum();
        Ok(Counts {
            topics,
            subscriptions,
        })
    }
}

fn named(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name).spawn(run)
}
