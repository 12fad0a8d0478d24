//! The cluster over Redis: topics, their numbers and their history are in Redis; each node mirrors the topics that its clients
//! are subscribed to.
//!
//! In reading order: [`shard`] is one Redis, [`connection`] how this node talks to it, and [`status`] whether it can be used.
//! [`topics`] are what Redis has, [`publishing`] adds events to them, [`reading`] looks at them, [`mirroring`] is how this node
//! follows them. [`members`] are the nodes, and who is subscribed where. [`ring`] and [`spread`] say which of several Redis has a
//! topic.
//!
//! Each lock here is taken alone, except that a command may be sent under the lock of a lane's connection. None is held while
//! a topic's lock is taken.

mod changes;
mod connection;
mod keys;
mod members;
mod metrics;
mod mirroring;
#[cfg(all(test, shuttle))]
pub(crate) mod model;
mod publishing;
mod reading;
mod ring;
mod scripts;
mod shard;
mod spread;
mod status;
mod topics;

use std::io;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Sender, bounded, unbounded};
use parking_lot::Mutex;

use self::changes::Changes;
use self::connection::connect::Dialer;
use self::connection::keeper::{Declared, Event, Keeper};
use self::keys::Keys;
use self::members::appearing::{Joiner, News};
use self::members::node::Node;
use self::mirroring::apply::Appliers;
use self::mirroring::mirrors::Mirrors;
use self::ring::Ring;
use self::shard::{Parts, Shard};
use self::status::State;
use self::topics::figures::Figures;
use super::Unavailable;
use crate::broker::local_topics::LocalTopics;
use crate::broker::patterns::Patterns;
use crate::broker::registry::{ChangeError, CreateError};
use crate::broker::topic::{Departure, TopicChange, TopicSettings};
use crate::config::{OverflowPolicy, RedisUrl};
use crate::protocol::TopicName;
use crate::sync::{Arc, AtomicUsize};

pub(crate) use self::connection::connect::TlsFiles;
pub(crate) use self::members::node::NodeInfo;
pub(crate) use self::metrics::EngineMetrics;
pub(crate) use self::mirroring::receipts::{BatchError, Receipt};
pub(crate) use self::topics::Defaults;

/// A node of the cluster.
pub(crate) struct Redis {
    shards: Vec<Arc<Shard>>,
    ring: Arc<Ring>,
    metrics: Arc<EngineMetrics>,
    changes: Arc<Changes>,
    appliers: Arc<Appliers>,
    departures: Sender<Departure>,
    /// Dropped when no further subscription can end.
    leaving: Mutex<Option<Sender<()>>>,
    mirrors: Mirrors,
    figures: Figures,
    keepers: Vec<Sender<Event>>,
    news: Sender<News>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// If topics are created by their first use: how.
    auto_create: Option<Defaults>,
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
    pub(crate) defaults: Defaults,
    /// Whether topics are created by their first use.
    pub(crate) auto_create: bool,
    /// Topics that exist from the start.
    pub(crate) declared: Vec<TopicName>,
}

impl Redis {
    /// Starts the threads of a node. They connect by themselves, and go on trying.
    pub(crate) fn start(
        options: NodeOptions<'_>,
        topics: &Arc<LocalTopics>,
        patterns: &Arc<Patterns>,
    ) -> io::Result<Arc<Redis>> {
        let metrics = Arc::new(EngineMetrics::default());
        let changes = Arc::<Changes>::default();
        let node = Arc::new(Node::new(options.address, options.connections, topics));
        let (appliers, mut threads) = Appliers::start(topics)?;
        let ring = Arc::new(Ring::new(options.urls.len()));
        let declared = Arc::new(Declared {
            topics: options.declared,
            defaults: options.defaults.clone(),
        });
        let (news, of_news) = unbounded();
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
                changes: Arc::clone(&changes),
                events: events.clone(),
                news: news.clone(),
                idempotency_window: options.defaults.settings.idempotency_window,
            }));
            let mut keeper = Keeper {
                shard: Arc::clone(&shard),
                dialer: Dialer::new(url, &options.tls_files),
                events: received,
                declared: Some(Arc::clone(&declared)),
            };
            threads.push(named(format!("redis-{at}"), move || keeper.run())?);
            shards.push(shard);
            keepers.push(events);
        }
        let (departures, departed) = unbounded();
        let (leaving, has_left) = bounded(0);
        let of_leaves = shards.clone();
        let leave = move || members::joining::leave_all(&of_leaves, &departed, &has_left);
        threads.push(named("redis-leave".to_owned(), leave)?);
        let redis = Arc::new(Redis {
            shards,
            ring,
            metrics,
            changes,
            appliers,
            departures,
            leaving: Mutex::new(Some(leaving)),
            mirrors: Mirrors::default(),
            figures: Figures::default(),
            keepers,
            news,
            threads: Mutex::new(threads),
            auto_create: options.auto_create.then_some(options.defaults),
        });
        let mut joiner = Joiner::new(&redis, patterns, of_news);
        let thread = named("redis-join".to_owned(), move || joiner.run())?;
        redis.threads.lock().push(thread);
        Ok(redis)
    }

    /// Leaves the cluster, and ends all threads. Called when all subscriptions have ended.
    pub(crate) fn stop(&self) {
        let _ = self.news.send(News::Stop);
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

    /// Whether every Redis can be used, and takes what is new.
    pub(crate) fn is_up(&self) -> bool {
        self.shards
            .iter()
            .all(|shard| shard.status.state() == State::Up)
    }

    /// Waits until every Redis can be used, until `is_over`, or until this moment. Whoever changes what `is_over` looks at
    /// calls [`Redis::wake_waiting`].
    pub(crate) fn wait_until_up(&self, deadline: Instant, is_over: impl Fn() -> bool) {
        self.changes
            .wait_until(deadline, || self.is_up() || is_over());
    }

    pub(crate) fn wake_waiting(&self) {
        self.changes.notify();
    }

    /// Why a Redis cannot be used, or what is wrong with its settings: one line for people.
    pub(crate) fn problem(&self) -> Option<String> {
        self.shards.iter().find_map(|shard| shard.status.problem())
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

    /// Creates a topic for its first use, unless another node was faster.
    pub(crate) fn create_for_use(&self, topic: &TopicName) -> Result<(), CreateError> {
        let Some(Defaults {
            settings,
            max_topics,
        }) = &self.auto_create
        else {
            return Err(CreateError::Unavailable);
        };
        let shard = self.shard(topic).map_err(|_| CreateError::Unavailable)?;
        match self.create(topic, *settings, *max_topics) {
            Ok(()) => {
                shard.topics.metrics().topic_auto_created();
                tracing::info!(%topic, "topic created by its first use");
                Ok(())
            }
            Err(CreateError::Exists) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn change(
        &self,
        topic: &TopicName,
        change: &TopicChange,
    ) -> Result<(), ChangeError> {
        if change.overflow == Some(OverflowPolicy::Block) {
            return Err(ChangeError::NoBlockInCluster);
        }
        topics::change(self.shard(topic)?, topic, change)
    }

    pub(crate) fn delete(&self, topic: &TopicName) -> Result<bool, Unavailable> {
        topics::delete(self.shard(topic)?, topic)
    }
}

fn named(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name).spawn(run)
}
