//! The appliers: threads that append what the links receive to the mirrors and fan it out. Each topic has one of them, so that
//! its entries stay in order. The link never waits for them: what they cannot take in time is read from the stream later.
//! What takes less time than to wake an applier is done by the link itself, when nothing of the topic waits.

use std::io;
use std::thread::{self, JoinHandle};

use ::redis::Msg;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;

use super::catch_up::{After, append, catch_up};
use super::metrics::EngineMetrics;
use super::owners::Owners;
use super::shard::Shard;
use super::topics;
use crate::broker::local_topics::LocalTopics;
use crate::broker::mirror::{TopicMessage, parse};
use crate::broker::topic::{Applied, Source};
use crate::broker::{ReadBatch, Topic};
use crate::protocol::TopicName;
use crate::sync::{Arc, AtomicUsize, HashMap, Ordering};

/// Threads that append.
const APPLIERS: usize = 2;
/// The most messages and bytes that wait for an applier.
const MAX_WAITING: usize = 4096;
const MAX_WAITING_BYTES: usize = 32 << 20;
/// The most deliveries for which the link wakes no applier.
const MAX_LINK_DELIVERIES: u64 = 32;

pub(super) struct Appliers {
    queues: Vec<Queue>,
    topics: Arc<LocalTopics>,
    pub(super) owners: Owners,
}

struct Queue {
    work: Sender<Work>,
    /// Messages that wait or are being applied, and their bytes. Only a link adds to them.
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// Topics of which a message was dropped.
    overrun: Mutex<HashMap<TopicName, Arc<Shard>>>,
}

enum Work {
    Message(Arc<Shard>, TopicName, Msg),
    Late(Arc<Shard>, Arc<Topic>),
    Stop,
}

impl Appliers {
    /// Starts the threads.
    pub(super) fn start(
        topics: &Arc<LocalTopics>,
    ) -> io::Result<(Arc<Appliers>, Vec<JoinHandle<()>>)> {
        let (queues, works): (Vec<_>, Vec<_>) = (0..APPLIERS)
            .map(|_| {
                let (work, works) = bounded(MAX_WAITING);
                let queue = Queue {
                    work,
                    messages: AtomicUsize::new(0),
                    bytes: AtomicUsize::new(0),
                    overrun: Mutex::default(),
                };
                (queue, works)
            })
            .unzip();
        let appliers = Arc::new(Appliers {
            queues,
            topics: Arc::clone(topics),
            owners: Owners::default(),
        });
        let threads = works.into_iter().enumerate().map(|(at, works)| {
            let appliers = Arc::clone(&appliers);
            let name = format!("redis-apply-{at}");
            thread::Builder::new()
                .name(name)
                .spawn(move || appliers.run(at, &works))
        });
        let threads = threads.collect::<io::Result<_>>()?;
        Ok((appliers, threads))
    }

    /// How many threads they are.
    pub(super) fn count(&self) -> usize {
        self.queues.len()
    }

    /// Stops the threads once they have done what waits.
    pub(super) fn stop(&self) {
        for queue in &self.queues {
            let _ = queue.work.send(Work::Stop);
        }
    }

    /// A message came over the channel of a topic. Never waits.
    pub(super) fn message(&self, shard: &Arc<Shard>, topic: TopicName, message: Msg) {
        let queue = self.queue_of(&topic);
        // A topic has one link: if nothing waits, nothing of this topic is before the message.
        let is_first = queue.messages.load(Ordering::Acquire) == 0;
        if self.apply_on_link(&topic, &message, is_first) {
            return;
        }
        let bytes = message.get_payload_bytes().len();
        queue.messages.fetch_add(1, Ordering::Relaxed);
        let is_full = queue.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_WAITING_BYTES;
        let work = Work::Message(Arc::clone(shard), topic, message);
        let dropped = match is_full {
            true => Some(work),
            false => match queue.work.try_send(work) {
                Ok(()) => None,
                Err(TrySendError::Full(work) | TrySendError::Disconnected(work)) => Some(work),
            },
        };
        if let Some(Work::Message(shard, topic, _)) = dropped {
            queue.messages.fetch_sub(1, Ordering::Relaxed);
            queue.bytes.fetch_sub(bytes, Ordering::Relaxed);
            EngineMetrics::count(&shard.metrics.overruns);
            queue.overrun.lock().insert(topic, shard);
        }
    }

    /// Drops a copy of what the mirror has, such as an entry that this node published. If nothing of the topic waits, appends
    /// and fans out an entry with few deliveries. Returns `false` if an applier must take the message.
    fn apply_on_link(&self, name: &TopicName, message: &Msg, is_first: bool) -> bool {
        let (Some(topic), Some(TopicMessage::Entry(entry))) = (
            self.topics.get(name.as_str()),
            parse(message.get_payload_bytes()),
        ) else {
            return false;
        };
        if topic.has_entry(&entry) {
            return true;
        }
        let deliveries = entry.count * topic.subscriber_count() as u64;
        if !is_first || deliveries > MAX_LINK_DELIVERIES {
            return false;
        }
        match topic.append_entry(&entry, Source::Live) {
            Applied::Appended => topic.fan_out(&mut ReadBatch::default()),
            Applied::Ignored => true,
            Applied::Full | Applied::MustRead => return false,
        };
        true
    }

    /// A mirror must read the stream.
    pub(super) fn late(&self, shard: &Arc<Shard>, topic: Arc<Topic>) {
        let queue = self.queue_of(topic.name());
        let _ = queue.work.try_send(Work::Late(Arc::clone(shard), topic));
    }

    fn queue_of(&self, topic: &TopicName) -> &Queue {
        &self.queues[super::ring::hash(topic.as_str()) as usize % self.queues.len()]
    }

    fn run(&self, at: usize, works: &Receiver<Work>) {
        let queue = &self.queues[at];
        while let Ok(work) = works.recv() {
            match work {
                Work::Stop => return,
                Work::Late(shard, topic) => {
                    let _ = catch_up(&shard, &topic, After::Interruption);
                }
                Work::Message(shard, topic, message) => {
                    self.apply(&shard, &topic, &message);
                    let bytes = message.get_payload_bytes().len();
                    queue.bytes.fetch_sub(bytes, Ordering::Relaxed);
                    queue.messages.fetch_sub(1, Ordering::Release);
                }
            }
            self.read_overrun(queue);
        }
    }

    fn apply(&self, shard: &Arc<Shard>, name: &TopicName, message: &Msg) {
        let Some(topic) = self.topics.get(name.as_str()) else {
            return;
        };
        let applied = match parse(message.get_payload_bytes()) {
            Some(TopicMessage::Entry(entry)) => append(&topic, &entry, Source::Live),
            Some(TopicMessage::Deleted { epoch, seq }) => {
                return topics::deleted_at(shard, &topic, epoch, seq);
            }
            Some(TopicMessage::NewEpoch) | None => Applied::MustRead,
        };
        if applied == Applied::MustRead {
            let _ = catch_up(shard, &topic, After::Interruption);
        }
    }

    fn read_overrun(&self, queue: &Queue) {
        let overrun = std::mem::take(&mut *queue.overrun.lock());
        for (name, shard) in &overrun {
            if let Some(topic) = self.topics.get(name.as_str()) {
                let _ = catch_up(shard, &topic, After::Interruption);
            }
        }
    }
}
