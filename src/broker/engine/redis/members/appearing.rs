//! Topics that appear in the cluster join the patterns of this node that match them.
//!
//! The script that creates a topic sends its name to all nodes. The thread `redis-join` lets it join: the subscription begins at the
//! topic's first event, which is in Redis whoever published it meanwhile. A node that was away from Redis looks at all topics.

use std::time::{Duration, Instant};

use ::redis::{Cmd, cmd};
use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::joining::MAX_TRIES;
use crate::broker::SubscribeError;
use crate::broker::engine::Unavailable;
use crate::broker::engine::redis::Redis;
use crate::broker::engine::redis::topics::{self, records, records::Record};
use crate::broker::patterns::{PatternSubscription, Patterns};
use crate::broker::registry::{Caller, Joined, TopicError};
use crate::protocol::{ClientId, EpochName, StartAt, TopicName, TopicPattern};
use crate::sync::Arc;

/// The pause before topics that could not join are tried again.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) enum News {
    /// A message to all nodes.
    Message(String),
    /// This node was away from this Redis.
    Look(usize),
    /// A topic could not join.
    Later(Later),
    Stop,
}

/// A topic that is to join as soon as possible.
pub(crate) struct Later {
    pattern: Arc<PatternSubscription>,
    topic: TopicName,
    start_at: StartAt,
}

impl Redis {
    /// The topics of the cluster that match, by name.
    pub(crate) fn matching_topics(
        &self,
        pattern: &TopicPattern,
    ) -> Result<Vec<TopicName>, Unavailable> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend(topics::matching(shard, pattern)?);
        }
        all.sort_unstable();
        Ok(all)
    }

    /// Sends to all nodes that a pattern has begun here: that of the same client id on another node ends.
    pub(crate) fn announce_pattern(&self, begun: &PatternSubscription) {
        let shard = &self.shards[0];
        let text = format!(
            "pattern {} {} {} {}",
            shard.node.id(),
            begun.number(),
            begun.pattern(),
            begun.client_id()
        );
        let mut publish = cmd("PUBLISH");
        publish.arg(shard.keys.news()).arg(text);
        // Without Redis nobody hears of it, and its topics are taken over one by one only.
        let _ = shard.lane.one(publish);
    }

    pub(crate) fn join_later(
        &self,
        pattern: &Arc<PatternSubscription>,
        topic: &TopicName,
        start_at: StartAt,
    ) {
        let later = Later {
            pattern: Arc::clone(pattern),
            topic: topic.clone(),
            start_at,
        };
        let _ = self.news.send(News::Later(later));
    }
}

/// Lets topics join.
pub(crate) struct Joiner {
    redis: Arc<Redis>,
    patterns: Arc<Patterns>,
    news: Receiver<News>,
    later: Vec<Later>,
    /// When to try those again.
    again: Instant,
}

impl Joiner {
    pub(crate) fn new(
        redis: &Arc<Redis>,
        patterns: &Arc<Patterns>,
        news: Receiver<News>,
    ) -> Joiner {
        Joiner {
            redis: Arc::clone(redis),
            patterns: Arc::clone(patterns),
            news,
            later: Vec::new(),
            again: Instant::now(),
        }
    }

    /// Runs until the node stops.
    pub(crate) fn run(&mut self) {
        loop {
            let news = match self.later.is_empty() {
                true => self.news.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => self.news.recv_deadline(self.again),
            };
            match news {
                Ok(News::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(News::Message(text)) => self.on_message(&text),
                Ok(News::Look(shard)) => self.look(shard),
                Ok(News::Later(later)) => self.later.push(later),
                Err(RecvTimeoutError::Timeout) => {
                    for later in std::mem::take(&mut self.later) {
                        let Later {
                            pattern,
                            topic,
                            start_at,
                        } = later;
                        self.join_soon(&pattern, &topic, None, start_at);
                    }
                }
            }
        }
    }

    fn on_message(&mut self, text: &str) {
        let words: Vec<&str> = text.splitn(5, ' ').collect();
        match words[..] {
            ["topic", epoch, name] => {
                if let (Some(epoch), Ok(topic)) = (EpochName::parse(epoch), TopicName::new(name)) {
                    self.on_topic(&topic, epoch);
                }
            }
            ["pattern", node, number, pattern, client_id] => {
                let number = (node == self.redis.shards[0].node.id()).then_some(number);
                let here = number.map(str::parse).transpose();
                if let (Ok(here), Ok(pattern), Ok(client_id)) =
                    (here, TopicPattern::new(pattern), ClientId::new(client_id))
                {
                    self.patterns.on_begun(&pattern, &client_id, here);
                }
            }
            _ => {}
        }
    }

    fn on_topic(&mut self, topic: &TopicName, epoch: EpochName) {
        for pattern in self.patterns.meet(topic, epoch) {
            self.join_soon(&pattern, topic, Some(epoch), StartAt::First);
        }
    }

    /// Lets topics of a Redis join of which no message has come.
    fn look(&mut self, shard: usize) {
        for (pattern, subscriptions) in self.patterns.all() {
            // When Redis is there again, the node looks again.
            let Ok(topics) = self.matching(shard, &pattern) else {
                return;
            };
            for subscription in &subscriptions {
                for (topic, epoch) in &topics {
                    if !subscription.has_lost(topic, *epoch) {
                        self.join_soon(subscription, topic, Some(*epoch), StartAt::First);
                    }
                }
            }
        }
    }

    /// The topics of a Redis that match, with their epochs.
    fn matching(
        &self,
        shard: usize,
        pattern: &TopicPattern,
    ) -> Result<Vec<(TopicName, EpochName)>, Unavailable> {
        let shard = &self.redis.shards[shard];
        let topics = topics::matching(shard, pattern)?;
        let records: Vec<Cmd> = topics
            .iter()
            .map(|topic| records::command(shard, topic))
            .collect();
        let records = shard.lane.call_all(&records)?;
        let epoch = |record| Some(Record::of(record)?.place.epoch);
        let with_epochs = topics.into_iter().zip(records.iter().map(epoch));
        Ok(with_epochs
            .filter_map(|(topic, epoch)| Some((topic, epoch?)))
            .collect())
    }

    /// Lets a topic join now, or when Redis can be reached again.
    fn join_soon(
        &mut self,
        pattern: &Arc<PatternSubscription>,
        topic: &TopicName,
        epoch: Option<EpochName>,
        start_at: StartAt,
    ) {
        if self.join(pattern, topic, epoch, &start_at).is_err() {
            self.again = Instant::now() + PAUSE;
            self.later.push(Later {
                pattern: Arc::clone(pattern),
                topic: topic.clone(),
                start_at,
            });
        }
    }

    fn join(
        &self,
        pattern: &Arc<PatternSubscription>,
        name: &TopicName,
        epoch: Option<EpochName>,
        start_at: &StartAt,
    ) -> Result<(), Unavailable> {
        for _ in 0..MAX_TRIES {
            let Some(sink) = pattern.sink().upgrade() else {
                return Ok(());
            };
            if !sink.may_join(pattern, name, epoch) {
                return Ok(());
            }
            let client_id = pattern.client_id();
            let caller = Caller {
                connection: pattern.connection(),
                user: sink.user(),
            };
            let joined = self.redis.join(name, client_id, caller);
            let Joined { topic, order } = match joined {
                Ok(joined) => joined,
                Err(TopicError::NotFound) => return Ok(()),
                Err(_) => return Err(Unavailable),
            };
            if pattern.watches()
                && let Err(unavailable) = self.redis.follow_presence(&topic)
            {
                self.redis.leave(name, client_id, order);
                return Err(unavailable);
            }
            let opened = self.patterns.while_open(pattern, || {
                sink.topic_appeared(pattern, &topic, order, start_at)
            });
            if opened == Some(Ok(())) {
                if self.redis.was_replaced(name, client_id, order) {
                    topic.supersede(client_id, u64::MAX);
                }
                return Ok(());
            }
            self.redis.leave(name, client_id, order);
            let is_to_repeat = matches!(
                opened,
                Some(Err(
                    SubscribeError::Deleted | SubscribeError::PresenceUnknown
                ))
            );
            if !is_to_repeat {
                return Ok(());
            }
        }
        Err(Unavailable)
    }
}
