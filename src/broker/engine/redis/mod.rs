//! The cluster over Redis: topics, their numbers and their history are in Redis; each node mirrors the topics that its clients
//! are subscribed to.
//!
//! In reading order: [`shard`] is one Redis, [`keeper`] the thread that connects to it; commands go over a [`lane`], messages
//! come over the [`link`]. [`publishes`] numbers batches; [`apply`] appends what comes over the link, and [`catch_up`] what
//! did not come. [`topics`] are created, deleted and shown; [`owners`] says who is subscribed where, [`node`] which nodes live.
//!
//! Each lock here is taken alone, except that a command may be sent under the lock of a lane's connection. None is held while
//! a topic's lock is taken.

mod apply;
mod catch_up;
mod group_commit;
mod health;
mod keeper;
mod keys;
mod lane;
mod link;
mod metrics;
#[cfg(all(test, shuttle))]
pub(crate) mod model;
mod node;
mod owners;
mod publishes;
mod ring;
mod scripts;
mod shard;
mod topics;

use std::collections::HashSet;
use std::io;
use std::thread::{self, JoinHandle};

use ::redis::Client;
use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};
use parking_lot::{Condvar, Mutex};

use self::apply::Appliers;
use self::catch_up::{After, catch_up};
use self::keeper::{Event, Keeper};
use self::keys::Keys;
use self::node::Node;
use self::ring::Ring;
use self::shard::{Parts, Shard, State};
use super::{Counts, Unavailable};
use crate::broker::history::{Ahead, HistoryError, HistoryPage, find_start};
use crate::broker::local_topics::LocalTopics;
use crate::broker::mirror::{self, Batch};
use crate::broker::registry::{CreateError, Joined, TopicError};
use crate::broker::topic::{Departure, PublishError, Published, TopicSettings, TopicStats};
use crate::broker::{ReadBatch, Topic};
use crate::config::{OverflowPolicy, RedisUrl};
use crate::protocol::{ClientId, Message, StartAt, Timestamp, TopicName};
use crate::sync::{Arc, AtomicUsize};

pub(crate) use self::metrics::EngineMetrics;
pub(crate) use self::node::NodeInfo;
pub(crate) use self::publishes::{BatchError, Receipt};

/// How often a subscribe is tried again whose mirror was closed meanwhile.
const MAX_TRIES: usize = 5;

/// A node of the cluster.
pub(crate) struct Redis {
    shards: Vec<Arc<Shard>>,
    ring: Arc<Ring>,
    topics: Arc<LocalTopics>,
    metrics: Arc<EngineMetrics>,
    appliers: Arc<Appliers>,
    departures: Sender<Departure>,
    /// Dropped when no further subscription can end.
    leaving: Mutex<Option<Sender<()>>>,
    /// Mirrors that are being opened.
    opening: Mutex<HashSet<TopicName>>,
    opened: Condvar,
    keepers: Vec<Sender<Event>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    last_counts: Mutex<Counts>,
}

/// What a node needs to know to take part.
pub(crate) struct NodeOptions<'a> {
    pub(crate) urls: &'a [RedisUrl],
    pub(crate) prefix: &'a str,
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
                client: Client::open(url.secret()).map_err(io::Error::other)?,
                keys: Keys::new(options.prefix),
                node: Arc::clone(&node),
                topics: Arc::clone(topics),
                appliers: Arc::clone(&appliers),
                metrics: Arc::clone(&metrics),
                events: events.clone(),
            }));
            let keeper = Keeper {
                shard: Arc::clone(&shard),
                events: received,
            };
            threads.push(named(format!("redis-{at}"), move || keeper.run())?);
            shards.push(shard);
            keepers.push(events);
        }
        let (departures, departed) = unbounded();
        let (leaving, has_left) = bounded(0);
        let of_leaves = shards.clone();
        let leave = move || leave_all(&of_leaves, &departed, &has_left);
        threads.push(named("redis-leave".to_owned(), leave)?);
        Ok(Arc::new(Redis {
            shards,
            ring,
            topics: Arc::clone(topics),
            metrics,
            appliers,
            departures,
            leaving: Mutex::new(Some(leaving)),
            opening: Mutex::default(),
            opened: Condvar::new(),
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

    /// Makes the subscription of this client id the newest, and the mirror of its topic ready for it.
    pub(crate) fn join(
        &self,
        name: &TopicName,
        client_id: &ClientId,
        connection: u64,
    ) -> Result<Joined, TopicError> {
        let shard = self.shard(name)?;
        for _ in 0..MAX_TRIES {
            let Some(topic) = self.mirror(shard, name)? else {
                return Err(TopicError::NotFound);
            };
            let owned = owners::join(shard, name, client_id, connection);
            if owned.as_ref().err() == Some(&TopicError::NotFound) {
                // The mirror is of a topic that was deleted or lost.
                catch_up(shard, &topic, After::Interruption)?;
                if topic.place().is_some() {
                    continue;
                }
                return Err(TopicError::NotFound);
            }
            let owned = owned?;
            if !has_reached(&topic, &owned.place) {
                catch_up(shard, &topic, After::Subscribe)?;
            }
            if topic.place().is_some() {
                let order = owned.order;
                return Ok(Joined { topic, order });
            }
            self.leave(name, client_id, owned.order);
        }
        Err(TopicError::Unavailable)
    }

    /// A subscription that joined was not opened.
    pub(crate) fn leave(&self, topic: &TopicName, client_id: &ClientId, order: u64) {
        let _ = self.departures.send(Departure {
            topic: topic.clone(),
            client_id: client_id.clone(),
            order,
        });
    }

    /// Whether another node took over the client id of a subscription before it was open here.
    pub(crate) fn was_replaced(&self, topic: &TopicName, client_id: &ClientId, order: u64) -> bool {
        self.appliers.owners.was_replaced(topic, client_id, order)
    }

    /// The mirror of a topic, opened if need be; `None` if there is no such topic.
    fn mirror(
        &self,
        shard: &Arc<Shard>,
        name: &TopicName,
    ) -> Result<Option<Arc<Topic>>, Unavailable> {
        let mut opening = self.opening.lock();
        loop {
            if let Some(mirror) = self.topics.get(name.as_str()) {
                return Ok(Some(mirror));
            }
            if opening.insert(name.clone()) {
                break;
            }
            self.opened.wait(&mut opening);
        }
        drop(opening);
        let opened = topics::open_mirror(shard, name, &self.departures);
        self.opening.lock().remove(name);
        self.opened.notify_all();
        opened
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
            if batches.is_empty() || shard.state() == State::Down {
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
        let from = |record: &topics::Record| match start_at {
            StartAt::Last(n) => (record.place.seq + 1).saturating_sub(*n),
            StartAt::After { seq, epoch }
                if epoch
                    .as_deref()
                    .is_none_or(|epoch| epoch == record.place.epoch.as_str()) =>
            {
                seq.saturating_add(1).min(record.place.seq + 1)
            }
            StartAt::After { .. } => 0,
        };
        let read = topics::history(self.shard(name)?, name, from)?;
        let (log, record) = read.ok_or(TopicError::NotFound)?;
        let epochs = crate::broker::epoch::Epochs::new(record.place.epoch);
        let epoch = epochs.current();
        let start = find_start(&log, epoch, start_at, Ahead::IsForeign);
        Ok(start.map(|start| look(&HistoryPage::new(&log, epoch, start))))
    }

    pub(crate) fn stats(&self, name: &TopicName) -> Result<TopicStats, TopicError> {
        let stats = topics::stats(self.shard(name)?, name)?;
        stats.ok_or(TopicError::NotFound)
    }

    /// The figures of all topics, by name. A topic that is deleted meanwhile is left out.
    pub(crate) fn all_stats(&self) -> Result<Vec<(TopicName, TopicStats)>, Unavailable> {
        let mut all = Vec::new();
        for shard in &self.shards {
            for name in topics::names(shard)? {
                let stats = topics::stats(shard, &name)?;
                all.extend(stats.map(|stats| (name, stats)));
            }
        }
        all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
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

/// Whether a mirror has this event, or is in another epoch, which is found out elsewhere.
fn has_reached(topic: &Topic, there: &mirror::Place) -> bool {
    let here = topic.place();
    here.is_some_and(|here| here.epoch == there.epoch && here.seq >= there.seq)
}

/// Removes the owners of subscriptions that end, as they end, until no further one can.
fn leave_all(shards: &[Arc<Shard>], departed: &Receiver<Departure>, has_left: &Receiver<()>) {
    let leave = |departure: Departure| {
        let owners = &shards[0].appliers.owners;
        owners.departed(departure);
        departed
            .try_iter()
            .for_each(|departure| owners.departed(departure));
        for shard in shards.iter().filter(|shard| shard.state() == State::Up) {
            let _ = owners::leave(shard);
        }
    };
    loop {
        select! {
            recv(departed) -> departure => match departure {
                Ok(departure) => leave(departure),
                Err(_) => return,
            },
            recv(has_left) -> _ => {
                departed.try_iter().for_each(leave);
                return;
            }
        }
    }
}

fn named(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name).spawn(run)
}
