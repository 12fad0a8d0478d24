//! One Redis of the cluster: its connections, its state, and the topics that are kept there.

mod mirrors;

use std::time::{Duration, Instant};

use ::redis::{Cmd, Connection, Msg, Value, cmd};
use crossbeam_channel::Sender;
use parking_lot::Mutex;

use super::changes::Changes;
use super::keys::{Keys, Purpose};
use super::metrics::EngineMetrics;
use super::ring::Ring;
use super::scripts;
use super::status::{State, Status};
use super::topics;
use crate::broker::engine::Unavailable;
use crate::broker::engine::redis::{
    connection::failure::{self, Failure},
    connection::keeper::{self, Event},
    connection::lane::Lane,
    connection::link::Link,
    members::appearing::News,
    members::node::{self, Node},
    members::owned::Owned,
    members::owners,
    members::presence::{self, Following},
    mirroring::apply::Appliers,
    mirroring::catch_up::{After, catch_up},
    mirroring::deletions::Deletions,
    mirroring::publishes::Publishes,
    mirroring::runs::Runs,
};
use crate::broker::local_topics::LocalTopics;
use crate::config::RedisUrl;
use crate::protocol::{ClientId, TopicName};
use crate::sync::{Arc, AtomicBool, AtomicUsize, HashMap, Ordering};

/// What Redis answers to a heartbeat.
pub(super) struct Heard {
    /// It knew of this node.
    is_known: bool,
    /// How many subscriptions it has of this node.
    owned: usize,
}

pub(super) struct Shard {
    /// Its number among all.
    pub(super) at: usize,
    pub(super) url: RedisUrl,
    pub(super) keys: Keys,
    pub(super) node: Arc<Node>,
    pub(super) topics: Arc<LocalTopics>,
    pub(super) ring: Arc<Ring>,
    pub(super) lane: Lane,
    pub(super) failure: Arc<Failure>,
    pub(super) publishes: Publishes,
    pub(super) link: Arc<Link>,
    pub(super) appliers: Arc<Appliers>,
    pub(super) metrics: Arc<EngineMetrics>,
    pub(super) status: Status,
    events: Sender<Event>,
    news: Sender<News>,
    /// Topics that it has, as last known.
    topic_count: AtomicUsize,
    /// Subscriptions of all nodes, as last known.
    subscription_count: AtomicUsize,
    pub(super) deletions: Deletions,
    pub(super) runs: Arc<Runs>,
    owned: Owned,
    pub(super) following: Following,
    /// Mirrors without subscribers, and since when.
    unused: Mutex<HashMap<TopicName, Instant>>,
    /// Mirrors and where they were at the last look.
    seen: Mutex<HashMap<TopicName, u64>>,
    was_up: AtomicBool,
}

/// What a shard is made of.
pub(super) struct Parts {
    pub(super) at: usize,
    pub(super) ring: Arc<Ring>,
    /// As it was given.
    pub(super) url: RedisUrl,
    pub(super) keys: Keys,
    pub(super) node: Arc<Node>,
    pub(super) topics: Arc<LocalTopics>,
    pub(super) appliers: Arc<Appliers>,
    pub(super) metrics: Arc<EngineMetrics>,
    pub(super) changes: Arc<Changes>,
    pub(super) events: Sender<Event>,
    pub(super) news: Sender<News>,
    /// How long a topic remembers the id of an idempotent message.
    pub(super) idempotency_window: Duration,
}

impl Shard {
    pub(super) fn new(parts: Parts) -> Shard {
        let failure = Arc::<Failure>::default();
        let lane = || Lane::new(parts.events.clone(), &failure, &parts.metrics);
        let keys = parts.keys.clone();
        let runs = Arc::<Runs>::default();
        let publishes = Publishes::new(
            lane(),
            keys,
            &parts.topics,
            &parts.metrics,
            &runs,
            parts.idempotency_window,
        );
        Shard {
            lane: lane(),
            publishes,
            failure,
            at: parts.at,
            keys: parts.keys,
            node: parts.node,
            topics: parts.topics,
            ring: parts.ring,
            url: parts.url,
            link: Arc::default(),
            appliers: parts.appliers,
            metrics: parts.metrics,
            status: Status::new(parts.at, parts.changes),
            events: parts.events,
            news: parts.news,
            topic_count: AtomicUsize::new(0),
            subscription_count: AtomicUsize::new(0),
            deletions: Deletions::default(),
            runs,
            owned: Owned::default(),
            following: Following::default(),
            unused: Mutex::default(),
            seen: Mutex::default(),
            was_up: AtomicBool::new(false),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.status.is_full()
    }

    pub(super) fn check_up(&self) -> Result<(), Unavailable> {
        match self.status.state() {
            State::Up | State::Full if self.ring.has_joined() => Ok(()),
            State::Up | State::Full | State::Down => Err(Unavailable),
        }
    }

    /// Sends commands if the shard is up.
    pub(super) fn call(&self, commands: &[Cmd]) -> Result<Vec<Value>, Unavailable> {
        self.check_up()?;
        self.lane.call(commands)
    }

    pub(super) fn up(&self) {
        self.ring.join(self.at);
        self.status.up();
        // Messages about topics that appeared may have been missed. Redis can be asked for them from now on.
        let _ = self.news.send(News::Look(self.at));
    }

    pub(super) fn disconnect(&self) {
        self.status.disconnected();
        // So that a link that is over ends now, and not at its next silence.
        let _ = self.wake_link();
        self.lane.close();
        self.publishes.lane.close();
        self.link.down();
    }

    /// Receives what is published, until the connection fails or is given up.
    pub(super) fn run_link(
        self: &Arc<Self>,
        connection: &mut Connection,
        is_over: &AtomicBool,
        ready: impl FnOnce(),
    ) {
        let channels = [self.keys.node_channel(self.node.id()), self.keys.news()];
        let ended = self.link.run(
            connection,
            &channels,
            ready,
            |message| self.received(message, &channels),
            || is_over.load(Ordering::Acquire),
        );
        if is_over.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = ended {
            tracing::debug!(redis = self.at, %error, "the link ended");
            self.failure.note(failure::of_connection(&error));
            let _ = self.events.send(Event::Failed);
        }
        self.link.down();
    }

    fn received(self: &Arc<Self>, message: Msg, [own, news]: &[String; 2]) {
        let text = || String::from_utf8_lossy(message.get_payload_bytes()).into_owned();
        if message.get_channel_name() == own {
            self.told(&text());
        } else if message.get_channel_name() == news {
            let _ = self.news.send(News::Message(text()));
        } else if let Some((topic, purpose)) = self.keys.of_channel(message.get_channel_name()) {
            match purpose {
                Purpose::Entries => self.appliers.message(self, topic, message),
                Purpose::Presence => {
                    let mirror = self.topics.get(topic.as_str());
                    if let Some((mirror, membership)) = mirror.zip(presence::parse(&text())) {
                        mirror.presence_noted(membership);
                    }
                }
            }
        }
    }

    /// Carries out what another node tells this one.
    fn told(&self, text: &str) {
        let mut words = text.splitn(4, ' ');
        let word = words.next();
        if let (Some("replaced"), Some(order), Some(topic), Some(client_id)) =
            (word, words.next(), words.next(), words.next())
            && let (Ok(order), Ok(client_id)) = (order.parse(), ClientId::new(client_id))
        {
            owners::replaced(self, topic, &client_id, order);
        }
    }

    pub(super) fn wake_link(&self) -> Result<(), Unavailable> {
        let mut wake = cmd("PUBLISH");
        wake.arg(self.keys.node_channel(self.node.id())).arg("wake");
        self.lane.one(wake).map(drop)
    }

    pub(super) fn heartbeat(&self) -> Result<Heard, Unavailable> {
        let id = self.node.id();
        let keys = [self.keys.node(id), self.keys.nodes()];
        let mut beat = scripts::call(&scripts::HEARTBEAT, &keys);
        beat.arg(id)
            .arg(self.node.describe(self))
            .arg(node::LIFE.as_secs());
        let mut count = cmd("SCARD");
        count.arg(self.keys.topics());
        let mut owned = cmd("SCARD");
        owned.arg(self.keys.owned(id));
        let answers = self.lane.call(&[beat, count, owned])?;
        let [Value::Array(heard), Value::Int(topics), Value::Int(owned)] = &answers[..] else {
            return Err(Unavailable);
        };
        let [Value::Int(known), Value::Int(full)] = heard[..] else {
            return Err(Unavailable);
        };
        self.status.set_full(full == 1 || self.failure.take_full());
        self.topic_count.store(*topics as usize, Ordering::Relaxed);
        Ok(Heard {
            is_known: known == 1,
            owned: *owned as usize,
        })
    }

    /// Asks how many topics it has.
    pub(super) fn count_topics(&self) -> Result<(), Unavailable> {
        let mut count = cmd("SCARD");
        count.arg(self.keys.topics());
        let topics = self.call(&[count])?.first().map_or(0, owners::count);
        self.topic_count.store(topics, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn subscription_count(&self) -> usize {
        self.subscription_count.load(Ordering::Relaxed)
    }

    pub(super) fn set_subscription_count(&self, subscriptions: usize) {
        self.subscription_count
            .store(subscriptions, Ordering::Relaxed);
    }

    pub(super) fn topic_count(&self) -> usize {
        self.topic_count.load(Ordering::Relaxed)
    }

    /// After a connect: reads what every mirror missed, and takes part in the cluster again. The error is one line for people.
    pub(super) fn bring_up_to_date(self: &Arc<Self>) -> Result<(), &'static str> {
        if self.was_up.swap(true, Ordering::Relaxed) {
            EngineMetrics::count(&self.metrics.reconnects);
        }
        let bring = || {
            self.deletions.repeat(self)?;
            for topic in &self.mirrors() {
                catch_up(self, topic, After::Interruption)?;
            }
            self.owned.doubt();
            if !self.is_full() {
                // Otherwise what Redis has lost of them is written again as soon as there is room.
                owners::rejoin(self, &owners::all_open(self))?;
            }
            presence::read_again(self)
        };
        bring().map_err(|Unavailable| "it failed while the node was brought up to date")?;
        self.runs.is_up_to_date();
        Ok(())
    }

    /// What is done every few seconds. The error is one line for people.
    pub(super) fn tick(self: &Arc<Self>) -> Result<(), &'static str> {
        let failed = |Unavailable| keeper::CONNECTION_FAILED;
        self.lane.check();
        self.publishes.lane.check();
        let heard = self.heartbeat().map_err(failed)?;
        if !heard.is_known {
            // The others took this node for dead, or Redis has lost everything.
            return Err("it does not know this node any more");
        }
        owners::leave(self).map_err(failed)?;
        if !self.is_full() {
            let compared = self.owned.compare_if_needed(self, heard.owned);
            compared.map_err(failed)?;
        }
        node::bury_dead(self).map_err(failed)?;
        topics::delete_idle(self).map_err(failed)?;
        self.close_unused();
        presence::look(self).map_err(failed)?;
        self.look_at_silent().map_err(failed)
    }

    /// When the node stops: its subscriptions are over, and nothing of it is left behind.
    pub(super) fn say_goodbye(self: &Arc<Self>) {
        let _ = owners::leave(self);
        // Perhaps nobody else is there to do it.
        let _ = node::bury_dead(self);
        let _ = self.lane.call(&node::forget(self));
    }

    /// Whether a topic is kept in this Redis.
    pub(super) fn has(&self, topic: &TopicName) -> bool {
        self.ring.shard_of(topic) == Some(self.at)
    }
}
