//! Compares a topic with a naive model that keeps every event for ever and computes each answer from the contract.

mod naive;

use proptest::option;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

use std::time::{Duration, Instant};

use super::{PublishError, Topic, TopicChange};
use crate::broker::{
    Broker, Cursors, Elsewhere, ReadBatch, SubscribeError, SubscriberSink, Subscription,
    TopicOptions,
};
use crate::config::{Config, OverflowPolicy};
use crate::protocol::{ClientId, Gap, GapReason, Message, StartAt, Timestamp, TopicName};
use crate::sync::{Arc, Weak};
use naive::{Bounds, NaiveReader, NaiveTopic, Received};

const CLIENTS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Publish {
        pad: usize,
        /// The message is older than the time to live.
        is_old: bool,
    },
    /// A fan-out in which no socket takes anything.
    FanOut,
    SubscribeLast {
        client: usize,
        n: u64,
    },
    Resume {
        client: usize,
        seq: u64,
        foreign: bool,
    },
    /// At most this many events, one at a time.
    Read {
        client: usize,
        events: usize,
    },
    Unsubscribe {
        client: usize,
    },
    Evict {
        keep_bytes: usize,
    },
    Change {
        history_size: Option<usize>,
        queue: Option<usize>,
        overflow: Option<OverflowPolicy>,
        has_ttl: Option<bool>,
    },
    /// What the expiry thread does, now or when the topic has rested longer than it may.
    Expire {
        is_later: bool,
    },
    Delete,
    Recreate,
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    prop_oneof![
        8 => (0usize..300, any::<bool>()).prop_map(|(pad, is_old)| Step::Publish { pad, is_old }),
        6 => Just(Step::FanOut),
        2 => (client.clone(), 0u64..8).prop_map(|(client, n)| Step::SubscribeLast { client, n }),
        2 => (client.clone(), 0u64..12, prop::bool::weighted(0.2))
            .prop_map(|(client, seq, foreign)| Step::Resume { client, seq, foreign }),
        6 => (client.clone(), 1usize..5).prop_map(|(client, events)| Step::Read { client, events }),
        1 => client.prop_map(|client| Step::Unsubscribe { client }),
        1 => (0usize..800).prop_map(|keep_bytes| Step::Evict { keep_bytes }),
        1 => (option::of(0usize..6), option::of(1usize..5), option::of(overflow()), option::of(any::<bool>()))
            .prop_map(|(history_size, queue, overflow, has_ttl)| Step::Change { history_size, queue, overflow, has_ttl }),
        2 => prop::bool::weighted(0.3).prop_map(|is_later| Step::Expire { is_later }),
        1 => Just(Step::Delete),
        2 => Just(Step::Recreate),
    ]
}

fn overflow() -> impl Strategy<Value = OverflowPolicy> {
    prop::sample::select(OverflowPolicy::ALL.to_vec())
}

/// The time to live, where there is one, and the idle time: no test takes so long.
const HOUR: Duration = Duration::from_secs(3_600);

struct Reader {
    subscription: Arc<Subscription>,
    naive: NaiveReader,
    /// The incarnation of the topic that it reads.
    incarnation: usize,
}

/// A broker and the naive model of it, side by side.
struct Pair {
    broker: Broker,
    bounds: Bounds,
    /// All incarnations of the topic; the last may be deleted.
    incarnations: Vec<(Arc<Topic>, NaiveTopic)>,
    readers: [Option<Reader>; CLIENTS],
    cursors: Cursors,
}

fn name() -> TopicName {
    TopicName::new("t").unwrap()
}

impl Pair {
    fn new(bounds: Bounds) -> Pair {
        let config = Config {
            history_size: bounds.history_size,
            max_queue_size: bounds.queue,
            history_bytes: bounds.bytes,
            overflow: bounds.overflow,
            history_ttl: if bounds.has_ttl { HOUR } else { Duration::ZERO },
            topic_idle: HOUR,
            ..Config::default()
        };
        let mut pair = Pair {
            broker: Broker::new(&config),
            bounds,
            incarnations: Vec::new(),
            readers: [None, None, None],
            cursors: Cursors::default(),
        };
        pair.create();
        pair
    }

    fn create(&mut self) {
        let topic = self.broker.create_here(name(), &TopicOptions::default());
        let naive = NaiveTopic {
            bounds: self.bounds,
            sizes: Vec::new(),
            evicted: 0,
            fanned_out: 0,
            old: 0,
            expired: 0,
            deleted: false,
        };
        self.incarnations.push((topic.unwrap(), naive));
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Publish { pad, is_old } => self.publish(pad, is_old),
            Step::Change {
                history_size,
                queue,
                overflow,
                has_ttl,
            } => self.change(&TopicChange {
                history_size,
                max_queue_size: queue,
                overflow,
                history_ttl: has_ttl.map(|has_ttl| has_ttl.then_some(HOUR)),
                idle: None,
            }),
            Step::Expire { is_later } => self.expire(is_later),
            Step::FanOut => self.fan_out(),
            Step::SubscribeLast { client, n } => self.subscribe(client, &StartAt::Last(n)),
            Step::Resume {
                client,
                seq,
                foreign,
            } => {
                let epoch = foreign.then(|| "another".to_owned());
                self.subscribe(client, &StartAt::After { seq, epoch });
            }
            Step::Read { client, events } => (0..events).for_each(|_| self.read(client)),
            Step::Unsubscribe { client } => self.unsubscribe(client),
            Step::Evict { keep_bytes } => self.evict(keep_bytes),
            Step::Delete => {
                let (_, naive) = self.incarnations.last_mut().unwrap();
                assert_eq!(self.broker.delete_topic(&name()), Ok(!naive.deleted));
                naive.deleted = true;
            }
            Step::Recreate if self.incarnations.last().unwrap().1.deleted => self.create(),
            Step::Recreate => {}
        }
        self.compare_figures();
    }

    fn publish(&mut self, pad: usize, is_old: bool) {
        let payload = RawValue::from_string(format!("\"{}\"", "x".repeat(pad))).unwrap();
        let id = "550e8400-e29b-41d4-a716-446655440000";
        let message = Message::new(id, &payload).unwrap();
        let incarnation = self.incarnations.len() - 1;
        let (topic, naive) = &mut self.incarnations[incarnation];
        let arrived = match is_old {
            true => Timestamp::EARLIEST,
            false => Timestamp::now(),
        };
        let published = match topic.try_publish(&message, arrived, None) {
            Err(PublishError::Deleted) => return assert!(naive.deleted),
            Err(PublishError::Full { event_bytes }) => Err(event_bytes),
            Ok(published) => Ok(published),
            Err(error) => panic!("{error:?}"),
        };
        assert!(!naive.deleted);
        let size = published.map_or_else(|bytes| bytes, |published| published.event_bytes);
        let mut sizes = naive.sizes.clone();
        sizes.push(size);
        let evicted = naive.evicted_after(&sizes) as u64;
        // Under `block` the append must neither overflow a queue nor evict an event that a subscriber has not read.
        let queue = naive.bounds.queue as u64;
        let pushed_out = (sizes.len() as u64)
            .saturating_sub(queue)
            .max(naive.pushed_out(size))
            .min(naive.fanned_out as u64);
        let blocked = naive.bounds.overflow == OverflowPolicy::Block
            && self.readers.iter().flatten().any(|reader| {
                let is_on = reader.incarnation == incarnation
                    && !reader.naive.ended
                    && reader.naive.until.is_none();
                is_on && reader.naive.after.max(reader.naive.live_from) < pushed_out
            });
        assert_eq!(published.is_err(), blocked, "waits for room");
        if let Ok(published) = published {
            assert_eq!(published.seq, sizes.len() as u64);
            // No event is older than the one before it.
            naive.old += usize::from(is_old && naive.old == naive.sizes.len());
            (naive.evicted, naive.sizes) = (evicted as usize, sizes);
        }
    }

    /// How many events of the last incarnation every live subscription has read; a replay counts as read.
    fn read_by_all(&self) -> usize {
        let last = self.incarnations.len() - 1;
        let live = self.readers.iter().flatten().filter(|reader| {
            let naive = &reader.naive;
            reader.incarnation == last && !naive.ended && naive.until.is_none()
        });
        let read = live.map(|reader| reader.naive.after.max(reader.naive.live_from));
        read.min().unwrap_or(u64::MAX) as usize
    }

    fn change(&mut self, change: &TopicChange) {
        let read = self.read_by_all();
        let (topic, naive) = self.incarnations.last_mut().unwrap();
        assert_eq!(topic.change(change), !naive.deleted);
        if naive.deleted {
            return;
        }
        naive.expired = naive.expired();
        let bounds = &mut naive.bounds;
        bounds.history_size = change.history_size.unwrap_or(bounds.history_size);
        bounds.queue = change.max_queue_size.unwrap_or(bounds.queue);
        bounds.overflow = change.overflow.unwrap_or(bounds.overflow);
        bounds.has_ttl = change
            .history_ttl
            .map_or(bounds.has_ttl, |ttl| ttl.is_some());
        if bounds.overflow == OverflowPolicy::Block {
            naive.fanned_out = naive.fanned_out.min(read);
        }
        naive.evicted = naive.evicted_after(&naive.sizes);
        naive.fanned_out = naive.sizes.len();
    }

    fn expire(&mut self, is_later: bool) {
        let read = self.read_by_all();
        let is_unused = self.subscribers() == 0;
        let (topic, naive) = self.incarnations.last_mut().unwrap();
        let later = if is_later { 2 * HOUR } else { Duration::ZERO };
        self.broker.expire(topic, Instant::now() + later);
        if is_later && is_unused {
            naive.deleted = true;
        } else if !naive.deleted {
            naive.expired = naive.expired();
            let evictable = naive.expired.min(naive.fanned_out).min(read);
            naive.evicted = naive.evicted.max(evictable);
        }
    }

    /// Subscriptions of the last incarnation.
    fn subscribers(&self) -> usize {
        let last = self.incarnations.len() - 1;
        let readers = self.readers.iter().flatten();
        match self.incarnations[last].1.deleted {
            true => 0,
            false => readers.filter(|reader| reader.incarnation == last).count(),
        }
    }

    fn fan_out(&mut self) {
        let (topic, naive) = self.incarnations.last_mut().unwrap();
        topic.fan_out(&mut ReadBatch::default());
        naive.fanned_out = naive.sizes.len();
    }

    fn subscribe(&mut self, client: usize, start_at: &StartAt) {
        let incarnation = self.incarnations.len() - 1;
        let (topic, naive) = &self.incarnations[incarnation];
        let client_id = ClientId::new(&client.to_string()).unwrap();
        let sink: Weak<dyn SubscriberSink> = Weak::<Elsewhere>::new();
        let opened = self.cursors.open(topic, client_id, start_at, &sink);
        let (oldest, head) = (naive.before_history(), naive.head());
        let (after, gap, recovered) = match *start_at {
            _ if naive.deleted => return assert_eq!(opened.err(), Some(SubscribeError::Deleted)),
            StartAt::Last(n) => (oldest.max(head.saturating_sub(n)), None, None),
            StartAt::First => unreachable!("only a topic that appears is subscribed to like that"),
            StartAt::After { epoch: Some(_), .. } => {
                (oldest, Some((None, GapReason::EpochChanged)), Some(false))
            }
            StartAt::After { seq, .. } if seq > head => {
                return assert_eq!(opened.err(), Some(SubscribeError::AheadOfTopic));
            }
            StartAt::After { seq, .. } if seq < oldest => {
                let range = Some((seq + 1, oldest));
                (
                    oldest,
                    Some((range, GapReason::HistoryEvicted)),
                    Some(false),
                )
            }
            StartAt::After { seq, .. } => (seq, None, Some(true)),
        };
        let opened = opened.ok().unwrap();
        let parts = |gap: Gap| (gap.range, gap.reason);
        assert_eq!((opened.seq, opened.recovered), (head, recovered));
        assert_eq!(opened.gap.map(parts), gap);
        if let Some(mut older) = self.readers[client].take() {
            let is_replaced = opened.takeover.is_some();
            assert_eq!(
                is_replaced,
                older.incarnation == incarnation && !older.naive.ended
            );
            // It is superseded, not ended yet: it may read events up to the head.
            if is_replaced {
                older.naive.until = Some(head);
            }
            compare(&mut older, &self.incarnations, &mut self.cursors);
            end(&older, &self.incarnations, &mut self.cursors);
        }
        self.readers[client] = Some(Reader {
            subscription: opened.subscription,
            naive: NaiveReader {
                after,
                live_from: head,
                until: None,
                ended: false,
            },
            incarnation,
        });
    }

    fn read(&mut self, client: usize) {
        let Some(reader) = &mut self.readers[client] else {
            return;
        };
        if compare(reader, &self.incarnations, &mut self.cursors).contains(&Received::TooSlow) {
            // As its connection would.
            self.unsubscribe(client);
        }
    }

    fn unsubscribe(&mut self, client: usize) {
        if let Some(reader) = self.readers[client].take() {
            end(&reader, &self.incarnations, &mut self.cursors);
        }
    }

    fn evict(&mut self, keep_bytes: usize) {
        let (topic, naive) = self.incarnations.last_mut().unwrap();
        let left = topic.evict(keep_bytes, usize::MAX);
        assert_eq!(left, topic.held_bytes());
        // The model does not know the memory of an event, so it follows the log's number of evicted events.
        while naive.retained_bytes() > topic.retained_bytes() {
            naive.evicted += 1;
            assert!(
                naive.evicted <= naive.fanned_out,
                "evicted before it was fanned out"
            );
        }
        assert!(left <= keep_bytes || naive.evicted >= naive.fanned_out);
    }

    fn compare_figures(&self) {
        let (topic, naive) = self.incarnations.last().unwrap();
        let stats = topic.stats();
        assert_eq!(stats.seq, naive.head());
        assert_eq!(
            stats.history_count as u64,
            naive.head() - naive.before_history()
        );
        assert_eq!(topic.retained_bytes(), naive.retained_bytes());
        let subscribers = self.subscribers();
        assert_eq!(stats.subscribers, subscribers);
        assert_eq!(self.broker.subscription_count(), subscribers);
    }
}

/// Reads one event from the topic and from the model, and compares.
fn compare(
    reader: &mut Reader,
    incarnations: &[(Arc<Topic>, NaiveTopic)],
    cursors: &mut Cursors,
) -> Vec<Received> {
    let (chunk, progress) = cursors.read_chunk(&reader.subscription, 1);
    let mut received = decode(&chunk.bytes);
    if progress.overflowed {
        received.push(Received::TooSlow);
    }
    assert_eq!(
        received,
        reader.naive.read_one(&incarnations[reader.incarnation].1)
    );
    assert_eq!(progress.ended, received.contains(&Received::Deleted));
    received
}

/// Ends a reader in the topic and in the model, and compares its last position.
fn end(reader: &Reader, incarnations: &[(Arc<Topic>, NaiveTopic)], cursors: &mut Cursors) {
    let end = cursors.end(&reader.subscription);
    reader
        .subscription
        .topic()
        .unsubscribe(&reader.subscription);
    let naive = &reader.naive;
    let expected = (!naive.ended).then(|| {
        (
            naive.after,
            naive
                .end(&incarnations[reader.incarnation].1)
                .saturating_sub(naive.after),
        )
    });
    assert_eq!(end.map(|end| (end.seq, end.pending)), expected);
}

/// Decodes the frames of a chunk; none of them is large.
fn decode(mut bytes: &[u8]) -> Vec<Received> {
    let mut received = Vec::new();
    while let [_, length, rest @ ..] = bytes {
        let (length, rest) = match *length {
            126 => (usize::from(rest[0]) << 8 | usize::from(rest[1]), &rest[2..]),
            short => (short.into(), rest),
        };
        let json: Value = serde_json::from_slice(&rest[..length]).unwrap();
        bytes = &rest[length..];
        let number = |value: &Value| value.as_u64().unwrap();
        let gap = &json["gap"];
        received.push(match json["type"].as_str() {
            Some("event") => Received::Event(number(&json["seq"])),
            _ if json["msg"] == "topic_deleted" => Received::Deleted,
            _ => {
                let (from, to) = (number(&gap["from_seq"]), number(&gap["to_seq"]));
                assert_eq!(number(&gap["count"]), to - from + 1);
                let reasons = ["slow_consumer", "history_evicted"];
                let reason = reasons.into_iter().find(|reason| gap["reason"] == *reason);
                Received::Gap(from, to, reason.unwrap())
            }
        });
    }
    received
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_reader_gets_what_the_contract_says(
        history_size in 0usize..6, queue in 1usize..5, bytes in 0usize..1500,
        overflow in overflow(), has_ttl in any::<bool>(),
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let mut pair = Pair::new(Bounds { history_size, queue, bytes, overflow, has_ttl });
        for step in &steps {
            pair.take(step);
        }
    }
}
