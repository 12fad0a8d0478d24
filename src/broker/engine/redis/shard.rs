//! One Redis of the cluster: its connections, its state, and the topics that are kept there.

use std::time::{Duration, Instant};

use ::redis::{Cmd, Connection, Msg, Value, cmd};
use crossbeam_channel::Sender;
use parking_lot::Mutex;

use super::apply::Appliers;
use super::catch_up::{After, catch_up};
use super::deletions::Deletions;
use super::keeper::Event;
use super::keys::Keys;
use super::lane::{self, Lane};
use super::link::Link;
use super::metrics::EngineMetrics;
use super::node::{self, Node};
use super::owned::Owned;
use super::publishes::Publishes;
use super::ring::Ring;
use super::runs::Runs;
use super::{owners, scripts};
use crate::broker::Topic;
use crate::broker::engine::Unavailable;
use crate::broker::local_topics::LocalTopics;
use crate::config::RedisUrl;
use crate::protocol::{ClientId, TopicName};
use crate::sync::{Arc, AtomicBool, AtomicUsize, HashMap, Ordering};

/// A mirror without subscribers is closed after this.
const LINGER: Duration = Duration::from_secs(10);

/// Whether a Redis can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Down,
    Up,
}

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
    pub(super) publishes: Publishes,
    pub(super) link: Arc<Link>,
    pub(super) appliers: Arc<Appliers>,
    pub(super) metrics: Arc<EngineMetrics>,
    events: Sender<Event>,
    is_up: AtomicBool,
    /// The link should end.
    is_leaving: AtomicBool,
    /// Why it is down, each reason since it was up once, the present one last.
    reasons: Mutex<Vec<String>>,
    /// What is wrong with its settings.
    warning: Mutex<Option<String>>,
    /// Topics that it has, as last known.
    topic_count: AtomicUsize,
    pub(super) deletions: Deletions,
    pub(super) runs: Arc<Runs>,
    owned: Owned,
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
    pub(super) events: Sender<Event>,
}

impl Shard {
    pub(super) fn new(parts: Parts) -> Shard {
        let lane = || Lane::new(parts.events.clone(), &parts.metrics);
        let keys = parts.keys.clone();
        let runs = Arc::<Runs>::default();
        let publishes = Publishes::new(lane(), keys, &parts.topics, &parts.metrics, &runs);
        Shard {
            lane: lane(),
            publishes,
            at: parts.at,
            keys: parts.keys,
            node: parts.node,
            topics: parts.topics,
            ring: parts.ring,
            url: parts.url,
            link: Arc::default(),
            appliers: parts.appliers,
            metrics: parts.metrics,
            events: parts.events,
            is_up: AtomicBool::new(false),
            is_leaving: AtomicBool::new(false),
            reasons: Mutex::default(),
            warning: Mutex::default(),
            topic_count: AtomicUsize::new(0),
            deletions: Deletions::default(),
            runs,
            owned: Owned::default(),
            unused: Mutex::default(),
            seen: Mutex::default(),
            was_up: AtomicBool::new(false),
        }
    }

    pub(super) fn state(&self) -> State {
        match self.is_up.load(Ordering::Acquire) {
            true => State::Up,
            false => State::Down,
        }
    }

    pub(super) fn check_up(&self) -> Result<(), Unavailable> {
        match self.state() {
            State::Up if self.ring.has_joined() => Ok(()),
            State::Up | State::Down => Err(Unavailable),
        }
    }

    /// Sends commands if the shard is up.
    pub(super) fn call(&self, commands: &[Cmd]) -> Result<Vec<Value>, Unavailable> {
        self.check_up()?;
        self.lane.call(commands)
    }

    pub(super) fn up(&self) {
        self.ring.join(self.at);
        self.is_up.store(true, Ordering::Release);
        self.reasons.lock().clear();
        tracing::info!(redis = self.at, "Redis is up");
    }

    /// Notes that it cannot be used; logged once for each reason.
    pub(super) fn down(&self, reason: &str) {
        self.is_up.store(false, Ordering::Release);
        let mut known = self.reasons.lock();
        let before = known.len();
        known.retain(|known| known != reason);
        if known.len() == before {
            tracing::error!(
                redis = self.at,
                reason,
                "Redis cannot be used; trying again"
            );
        }
        known.push(reason.to_owned());
    }

    /// Notes what is wrong with its settings; logged once.
    pub(super) fn warn(&self, warning: Option<String>) {
        let mut known = self.warning.lock();
        if let Some(warning) = warning.as_ref().filter(|_| *known != warning) {
            tracing::error!(redis = self.at, warning, "Redis is not set up for this");
        }
        *known = warning;
    }

    /// Why it cannot be used, or what is wrong with its settings.
    pub(super) fn problem(&self) -> Option<String> {
        let reason = self.reasons.lock().last().cloned();
        reason.or_else(|| self.warning.lock().clone())
    }

    pub(super) fn disconnect(&self) {
        self.is_up.store(false, Ordering::Release);
        self.is_leaving.store(true, Ordering::Release);
        // So that the link ends now, and not at its next silence.
        let _ = self.wake_link();
        self.lane.close();
        self.publishes.lane.close();
        self.link.down();
    }

    pub(super) fn run_link(self: &Arc<Self>, connection: &mut Connection, ready: impl FnOnce()) {
        self.is_leaving.store(false, Ordering::Release);
        let own_channel = self.keys.node_channel(self.node.id());
        let ended = self.link.run(
            connection,
            &own_channel,
            ready,
            |message| self.received(message, &own_channel),
            || self.is_leaving.load(Ordering::Acquire),
        );
        if let Err(error) = ended {
            tracing::debug!(redis = self.at, %error, "the link ended");
            let _ = self.events.send(Event::Failed);
        }
        self.link.down();
    }

    fn received(self: &Arc<Self>, message: Msg, own_channel: &str) {
        if message.get_channel_name() == own_channel {
            self.told(&String::from_utf8_lossy(message.get_payload_bytes()));
        } else if let Some(topic) = self.keys.topic_of_channel(message.get_channel_name()) {
            self.appliers.message(self, topic, message);
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
            .arg(node::LIFE.as_millis() as u64);
        let mut count = cmd("SCARD");
        count.arg(self.keys.topics());
        let mut owned = cmd("SCARD");
        owned.arg(self.keys.owned(id));
        let answers = self.lane.call(&[beat, count, owned])?;
        let [Value::Int(known), Value::Int(topics), Value::Int(owned)] = answers[..] else {
            return Err(Unavailable);
        };
        self.topic_count.store(topics as usize, Ordering::Relaxed);
        Ok(Heard {
            is_known: known == 1,
            owned: owned as usize,
        })
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
            owners::rejoin(self, &owners::all_open(self))
        };
        bring().map_err(|Unavailable| "it failed while the node was brought up to date")?;
        self.runs.is_up_to_date();
        Ok(())
    }

    /// What is done every few seconds. The error is one line for people.
    pub(super) fn tick(self: &Arc<Self>) -> Result<(), &'static str> {
        let failed = |Unavailable| "a connection to it failed";
        let heard = self.heartbeat().map_err(failed)?;
        if !heard.is_known {
            // The others took this node for dead, or Redis has lost everything.
            return Err("it does not know this node any more");
        }
        owners::leave(self).map_err(failed)?;
        let compared = self.owned.compare_if_needed(self, heard.owned);
        compared.map_err(failed)?;
        node::bury_dead(self).map_err(failed)?;
        self.close_unused();
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

    /// The mirrors of topics that are kept in this Redis.
    pub(super) fn mirrors(&self) -> Vec<Arc<Topic>> {
        let topics = self.topics.sorted();
        let mine = topics.iter().filter(|topic| self.has(topic.name()));
        mine.cloned().collect()
    }

    /// Closes mirrors that had no subscribers for some time.
    fn close_unused(&self) {
        let mut unused = self.unused.lock();
        let mirrors = self.mirrors();
        let is_unused = |topic: &&Arc<Topic>| topic.subscriber_count() == 0;
        let now = Instant::now();
        let found: HashMap<TopicName, Instant> = mirrors
            .iter()
            .filter(is_unused)
            .map(|topic| {
                (
                    topic.name().clone(),
                    *unused.get(topic.name()).unwrap_or(&now),
                )
            })
            .collect();
        *unused = found;
        for topic in mirrors.iter().filter(is_unused) {
            let since = unused.get(topic.name());
            if since.is_some_and(|since| since.elapsed() > LINGER) && topic.close_if_unused() {
                self.close(topic);
            }
        }
    }

    /// Removes a mirror that was closed or deleted.
    pub(super) fn close(&self, topic: &Arc<Topic>) {
        if self.topics.remove(topic) {
            self.link.leave(self.keys.channel(topic.name()));
        }
    }

    /// Looks whether Redis has more of those topics of which nothing came since the last look.
    fn look_at_silent(self: &Arc<Self>) -> Result<(), Unavailable> {
        let mirrors = self.mirrors();
        let mut seen = self.seen.lock();
        let places: HashMap<TopicName, u64> = mirrors
            .iter()
            .filter_map(|topic| Some((topic.name().clone(), topic.place()?.token.0)))
            .collect();
        let before = std::mem::replace(&mut *seen, places.clone());
        drop(seen);
        let is_silent = |topic: &&Arc<Topic>| before.get(topic.name()) == places.get(topic.name());
        let silent: Vec<_> = mirrors.iter().filter(is_silent).collect();
        for some in silent.chunks(lane::MAX_COMMANDS) {
            let commands: Vec<Cmd> = some.iter().map(|topic| self.look(topic.name())).collect();
            for (topic, answer) in some.iter().zip(self.lane.call(&commands)?) {
                let there = lane::texts(&answer);
                let is_there = topic.place().is_some_and(|place| {
                    there == [place.epoch.to_string(), place.token.to_string()]
                });
                if !is_there {
                    catch_up(self, topic, After::Interruption)?;
                }
            }
        }
        Ok(())
    }

    fn look(&self, topic: &TopicName) -> Cmd {
        let mut look = cmd("HMGET");
        look.arg(self.keys.topic(topic)).arg("epoch").arg("token");
        look
    }
}
