//! A topic against a naive model that keeps every event for ever, and computes each answer from the contract.

use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{PublishError, Topic};
use crate::broker::{
    Broker, Cursors, Nobody, ReadBatch, SubscribeError, SubscriberSink, Subscription, TopicOptions,
};
use crate::config::{Config, OverflowPolicy};
use crate::protocol::{ClientId, Gap, GapReason, Message, StartAt, Timestamp, TopicName};
use crate::sync::{Arc, Weak};

const CLIENTS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Publish {
        pad: usize,
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
    Delete,
    Recreate,
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    prop_oneof![
        8 => (0usize..300).prop_map(|pad| Step::Publish { pad }),
        6 => Just(Step::FanOut),
        2 => (client.clone(), 0u64..8).prop_map(|(client, n)| Step::SubscribeLast { client, n }),
        2 => (client.clone(), 0u64..12, prop::bool::weighted(0.2))
            .prop_map(|(client, seq, foreign)| Step::Resume { client, seq, foreign }),
        6 => (client.clone(), 1usize..5).prop_map(|(client, events)| Step::Read { client, events }),
        1 => client.prop_map(|client| Step::Unsubscribe { client }),
        1 => (0usize..800).prop_map(|keep_bytes| Step::Evict { keep_bytes }),
        1 => Just(Step::Delete),
        2 => Just(Step::Recreate),
    ]
}

/// What a reader is heard.
#[derive(Debug, Clone, PartialEq)]
enum Heard {
    Event(u64),
    Gap(u64, u64, &'static str),
    Deleted,
    /// The overflow policy ends the connection.
    TooSlow,
}

#[derive(Debug, Clone, Copy)]
struct Bounds {
    history_size: usize,
    queue: usize,
    bytes: usize,
    overflow: OverflowPolicy,
}

/// One life of a topic, with the size of every event it ever had.
#[derive(Debug, Clone)]
struct NaiveTopic {
    bounds: Bounds,
    sizes: Vec<usize>,
    /// How many of the oldest are gone.
    gone: usize,
    /// How many were fanned out: only these are evicted or skipped.
    fanned_out: usize,
    deleted: bool,
}

impl NaiveTopic {
    fn head(&self) -> u64 {
        self.sizes.len() as u64
    }

    fn retained_bytes(&self) -> usize {
        self.sizes[self.gone..].iter().sum()
    }

    /// How many of the oldest are gone once the newest are kept within the bounds; the newest itself always is.
    fn gone_after(&self, sizes: &[usize]) -> usize {
        let kept = self.bounds.history_size.max(self.bounds.queue);
        let fits = |gone: usize| {
            let bytes: usize = sizes[gone..].iter().sum();
            sizes.len() - gone <= kept && (bytes <= self.bounds.bytes || sizes.len() - gone == 1)
        };
        let limit = self.fanned_out.max(self.gone);
        (self.gone..limit).find(|gone| fits(*gone)).unwrap_or(limit)
    }

    /// The last seq that a replay cannot reach: it has the newest that are within both bounds.
    fn before_history(&self) -> u64 {
        let fits = |gone: usize| {
            let bytes: usize = self.sizes[gone..].iter().sum();
            bytes <= self.bounds.bytes && self.sizes.len() - gone <= self.bounds.history_size
        };
        let gone = (self.gone..self.sizes.len()).find(|gone| fits(*gone));
        gone.unwrap_or(self.sizes.len()) as u64
    }
}

/// A subscription as the contract has it.
#[derive(Debug, Clone)]
struct NaiveReader {
    after: u64,
    live_from: u64,
    /// The newest event for it, once a newer subscription has its place.
    until: Option<u64>,
    ended: bool,
}

impl NaiveReader {
    fn end(&self, topic: &NaiveTopic) -> u64 {
        self.until.unwrap_or(u64::MAX).min(topic.head())
    }

    /// One event, with all there is to tell before and behind it.
    fn read_one(&mut self, topic: &NaiveTopic) -> Vec<Heard> {
        let mut heard = Vec::new();
        let mut has_event = false;
        while !self.ended {
            let is_replay = self.after < self.live_from;
            let end = if is_replay {
                self.live_from
            } else {
                self.end(topic)
            };
            let lag = match topic.bounds.overflow {
                OverflowPolicy::Block => 0,
                _ => topic.fanned_out.saturating_sub(topic.bounds.queue) as u64,
            };
            let (kept, reason) = match is_replay {
                true => (topic.gone as u64, "history_evicted"),
                false => (lag.max(topic.gone as u64), "slow_consumer"),
            };
            let kept = kept.min(end);
            if self.after < kept {
                if !is_replay && topic.bounds.overflow != OverflowPolicy::DropOldest {
                    heard.push(Heard::TooSlow);
                    break;
                }
                heard.push(Heard::Gap(self.after + 1, kept, reason));
                self.after = kept;
            } else if self.after < end {
                if has_event {
                    break;
                }
                has_event = true;
                self.after += 1;
                heard.push(Heard::Event(self.after));
            } else {
                if topic.deleted && self.until.is_none() {
                    heard.push(Heard::Deleted);
                    self.ended = true;
                }
                break;
            }
        }
        heard
    }
}

struct Reader {
    subscription: Arc<Subscription>,
    naive: NaiveReader,
    /// The life of the topic it reads.
    life: usize,
}

/// A broker and the naive model of it, side by side.
struct Pair {
    broker: Broker,
    bounds: Bounds,
    /// All lives of the topic; the last may be deleted.
    lives: Vec<(Arc<Topic>, NaiveTopic)>,
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
            ..Config::default()
        };
        let mut pair = Pair {
            broker: Broker::new(&config),
            bounds,
            lives: Vec::new(),
            readers: [None, None, None],
            cursors: Cursors::default(),
        };
        pair.create();
        pair
    }

    fn create(&mut self) {
        let topic = self.broker.create_topic(name(), &TopicOptions::default());
        let naive = NaiveTopic {
            bounds: self.bounds,
            sizes: Vec::new(),
            gone: 0,
            fanned_out: 0,
            deleted: false,
        };
        self.lives.push((topic.unwrap(), naive));
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Publish { pad } => self.publish(pad),
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
                let (_, naive) = self.lives.last_mut().unwrap();
                assert_eq!(self.broker.delete_topic(&name()), !naive.deleted);
                naive.deleted = true;
            }
            Step::Recreate if self.lives.last().unwrap().1.deleted => self.create(),
            Step::Recreate => {}
        }
        self.compare_figures();
    }

    fn publish(&mut self, pad: usize) {
        let payload = RawValue::from_string(format!("\"{}\"", "x".repeat(pad))).unwrap();
        let id = "550e8400-e29b-41d4-a716-446655440000";
        let message = Message::new(id, &payload).unwrap();
        let life = self.lives.len() - 1;
        let (topic, naive) = &mut self.lives[life];
        let published = match topic.try_publish(&message, Timestamp::EARLIEST, None) {
            Err(PublishError::Deleted) => return assert!(naive.deleted),
            Err(PublishError::Full { event_bytes }) => Err(event_bytes),
            Ok(published) => Ok(published),
            Err(PublishError::ShuttingDown) => panic!("nobody shuts it down"),
        };
        assert!(!naive.deleted);
        let size = published.map_or_else(|bytes| bytes, |published| published.event_bytes);
        let mut sizes = naive.sizes.clone();
        sizes.push(size);
        let gone = naive.gone_after(&sizes) as u64;
        // It must neither overflow a queue nor be bought with an event that somebody has still to get.
        let queue = naive.bounds.queue as u64;
        let pushed_out = (sizes.len() as u64)
            .saturating_sub(queue)
            .max(naive.pushed_out(size))
            .min(naive.fanned_out as u64);
        let blocked = naive.bounds.overflow == OverflowPolicy::Block
            && self.readers.iter().flatten().any(|reader| {
                let is_on =
                    reader.life == life && !reader.naive.ended && reader.naive.until.is_none();
                is_on && reader.naive.after.max(reader.naive.live_from) < pushed_out
            });
        assert_eq!(published.is_err(), blocked, "waits for room");
        if let Ok(published) = published {
            assert_eq!(published.seq, sizes.len() as u64);
            (naive.gone, naive.sizes) = (gone as usize, sizes);
        }
    }

    fn fan_out(&mut self) {
        let (topic, naive) = self.lives.last_mut().unwrap();
        topic.fan_out(&mut ReadBatch::default());
        naive.fanned_out = naive.sizes.len();
    }

    fn subscribe(&mut self, client: usize, start_at: &StartAt) {
        let life = self.lives.len() - 1;
        let (topic, naive) = &self.lives[life];
        let client_id = ClientId::new(&client.to_string()).unwrap();
        let sink: Weak<dyn SubscriberSink> = Weak::<Nobody>::new();
        let opened = self.cursors.open(topic, client_id, start_at, &sink);
        let (oldest, head) = (naive.before_history(), naive.head());
        let (after, gap, recovered) = match *start_at {
            _ if naive.deleted => return assert_eq!(opened.err(), Some(SubscribeError::Deleted)),
            StartAt::Last(n) => (oldest.max(head.saturating_sub(n)), None, None),
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
        let heard = |gap: Gap| (gap.range, gap.reason);
        assert_eq!((opened.seq, opened.recovered), (head, recovered));
        assert_eq!(opened.gap.map(heard), gap);
        if let Some(mut older) = self.readers[client].take() {
            let is_replaced = opened.takeover.is_some();
            assert_eq!(is_replaced, older.life == life && !older.naive.ended);
            // It is not ended yet: all it may still read is what came before.
            if is_replaced {
                older.naive.until = Some(head);
            }
            compare(&mut older, &self.lives, &mut self.cursors);
            end(&older, &self.lives, &mut self.cursors);
        }
        self.readers[client] = Some(Reader {
            subscription: opened.subscription,
            naive: NaiveReader {
                after,
                live_from: head,
                until: None,
                ended: false,
            },
            life,
        });
    }

    fn read(&mut self, client: usize) {
        let Some(reader) = &mut self.readers[client] else {
            return;
        };
        if compare(reader, &self.lives, &mut self.cursors).contains(&Heard::TooSlow) {
            // What its connection does then.
            self.unsubscribe(client);
        }
    }

    fn unsubscribe(&mut self, client: usize) {
        if let Some(reader) = self.readers[client].take() {
            end(&reader, &self.lives, &mut self.cursors);
        }
    }

    fn evict(&mut self, keep_bytes: usize) {
        let (topic, naive) = self.lives.last_mut().unwrap();
        let left = topic.evict(keep_bytes, usize::MAX);
        assert_eq!(left, topic.held_bytes());
        // How many events that takes is the log's business.
        while naive.retained_bytes() > topic.retained_bytes() {
            naive.gone += 1;
            assert!(
                naive.gone <= naive.fanned_out,
                "evicted before it was fanned out"
            );
        }
        assert!(left <= keep_bytes || naive.gone >= naive.fanned_out);
    }

    fn compare_figures(&self) {
        let (topic, naive) = self.lives.last().unwrap();
        let stats = topic.stats();
        assert_eq!(stats.seq, naive.head());
        assert_eq!(
            stats.history_count as u64,
            naive.head() - naive.before_history()
        );
        assert_eq!(topic.retained_bytes(), naive.retained_bytes());
        let on = |life: usize| {
            let readers = self.readers.iter().flatten();
            readers.filter(|reader| reader.life == life).count()
        };
        let last = self.lives.len() - 1;
        let subscribers = if naive.deleted { 0 } else { on(last) };
        assert_eq!(stats.subscribers, subscribers);
        assert_eq!(self.broker.subscription_count(), subscribers);
    }
}

impl NaiveTopic {
    /// The newest event that one of this size would push out of the bytes.
    fn pushed_out(&self, size: usize) -> u64 {
        let left = |gone: usize| self.sizes[gone..].iter().sum::<usize>() + size;
        let fits = (self.gone..self.sizes.len()).find(|gone| left(*gone) <= self.bounds.bytes);
        let gone = fits.unwrap_or(self.sizes.len());
        if gone > self.gone { gone as u64 } else { 0 }
    }
}

/// Reads one event from both and compares.
fn compare(
    reader: &mut Reader,
    lives: &[(Arc<Topic>, NaiveTopic)],
    cursors: &mut Cursors,
) -> Vec<Heard> {
    let (chunk, progress) = cursors.read_chunk(&reader.subscription, 1);
    let mut heard = read_back(&chunk.bytes);
    if progress.overflowed {
        heard.push(Heard::TooSlow);
    }
    assert_eq!(heard, reader.naive.read_one(&lives[reader.life].1));
    assert_eq!(progress.ended, heard.contains(&Heard::Deleted));
    heard
}

/// Ends a reader in both; it must have come as far.
fn end(reader: &Reader, lives: &[(Arc<Topic>, NaiveTopic)], cursors: &mut Cursors) {
    let end = cursors.end(&reader.subscription);
    reader
        .subscription
        .topic()
        .unsubscribe(&reader.subscription);
    let naive = &reader.naive;
    let expected = (!naive.ended).then(|| {
        (
            naive.after,
            naive.end(&lives[reader.life].1).saturating_sub(naive.after),
        )
    });
    assert_eq!(end.map(|end| (end.seq, end.pending)), expected);
}

/// The frames of a chunk; none of them is large.
fn read_back(mut bytes: &[u8]) -> Vec<Heard> {
    let mut heard = Vec::new();
    while let [_, length, rest @ ..] = bytes {
        let (length, rest) = match *length {
            126 => (usize::from(rest[0]) << 8 | usize::from(rest[1]), &rest[2..]),
            short => (short.into(), rest),
        };
        let json: Value = serde_json::from_slice(&rest[..length]).unwrap();
        bytes = &rest[length..];
        let number = |value: &Value| value.as_u64().unwrap();
        let gap = &json["gap"];
        heard.push(match json["type"].as_str() {
            Some("event") => Heard::Event(number(&json["seq"])),
            _ if json["msg"] == "topic_deleted" => Heard::Deleted,
            _ => {
                let (from, to) = (number(&gap["from_seq"]), number(&gap["to_seq"]));
                assert_eq!(number(&gap["count"]), to - from + 1);
                let reasons = ["slow_consumer", "history_evicted"];
                let reason = reasons.into_iter().find(|reason| gap["reason"] == *reason);
                Heard::Gap(from, to, reason.unwrap())
            }
        });
    }
    heard
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_reader_gets_what_the_contract_says(
        history_size in 0usize..6, queue in 1usize..5, bytes in 0usize..1500,
        overflow in prop::sample::select(vec![
            OverflowPolicy::DropOldest, OverflowPolicy::Disconnect, OverflowPolicy::Block,
        ]),
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let mut pair = Pair::new(Bounds { history_size, queue, bytes, overflow });
        for step in &steps {
            pair.take(step);
        }
    }
}
