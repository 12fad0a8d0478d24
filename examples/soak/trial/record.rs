//! The record of one topic: which message has which seq. The first ack or event with a seq sets its message; every later one must
//! agree. Takes eight bytes per message, and keeps the newest few millions.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;

use super::message::MessageId;

const CHUNK: u64 = 1 << 16;
const ACKED: u64 = 1 << 63;
/// More than all publishers have in flight.
const MOST_AHEAD: u64 = 16 * CHUNK;

/// No subscriber is further behind than so many chunks: older ones are checked a last time and dropped.
const MOST_CHUNKS: usize = 64;

type Chunk = Arc<[AtomicU64]>;

#[derive(Debug, Default)]
struct Chunks {
    /// How many were dropped.
    dropped: usize,
    kept: VecDeque<Chunk>,
    /// Seqs without an ack in those that were dropped.
    unacked: usize,
}

impl Chunks {
    fn get(&self, index: usize) -> Option<Chunk> {
        let at = index.checked_sub(self.dropped)?;
        self.kept.get(at).map(Arc::clone)
    }

    fn grow(&mut self) {
        let empty = (0..CHUNK).map(|_| AtomicU64::new(0)).collect();
        self.kept.push_back(empty);
        if self.kept.len() > MOST_CHUNKS {
            self.dropped += 1;
            let oldest = self.kept.pop_front();
            self.unacked += oldest.map_or(0, |chunk| unacked(chunk.iter()));
        }
    }
}

fn unacked<'a>(slots: impl Iterator<Item = &'a AtomicU64>) -> usize {
    slots
        .filter(|slot| slot.load(Ordering::SeqCst) & ACKED == 0)
        .count()
}

/// Shared by all clients.
#[derive(Debug, Default)]
pub(crate) struct TopicRecord {
    chunks: RwLock<Chunks>,
    acked: AtomicU64,
    newest_acked: AtomicU64,
    epoch: OnceLock<String>,
}

impl TopicRecord {
    /// An event with this message and seq was delivered.
    pub(crate) fn delivered(&self, seq: u64, id: MessageId) -> Result<(), String> {
        let before = self.record(seq, id, 0)?;
        agree(before, seq, id)
    }

    /// The publisher of this message got an ack with this seq.
    pub(crate) fn acked(&self, seq: u64, id: MessageId) -> Result<(), String> {
        let before = self.record(seq, id, ACKED)?;
        self.acked.fetch_add(1, Ordering::Relaxed);
        self.newest_acked.fetch_max(seq, Ordering::SeqCst);
        if before & ACKED != 0 {
            return Err(format!("seq {seq} was acked twice"));
        }
        agree(before, seq, id)
    }

    /// How many messages were acked.
    pub(crate) fn acks(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// The newest seq that any publisher knows of.
    pub(crate) fn newest_acked(&self) -> u64 {
        self.newest_acked.load(Ordering::SeqCst)
    }

    /// Every subscriber must get the same epoch.
    pub(crate) fn check_epoch(&self, epoch: &str) -> Result<(), String> {
        match self.epoch.get_or_init(|| epoch.to_owned()) {
            first if first == epoch => Ok(()),
            first => Err(format!("epoch {epoch} after {first}")),
        }
    }

    /// The epoch, once a subscriber got it.
    pub(crate) fn epoch(&self) -> &str {
        self.epoch.get().map_or("", String::as_str)
    }

    /// Each seq up to `head` was acked exactly once, and none behind it.
    pub(crate) fn check_complete(&self, head: u64) -> Result<(), String> {
        let chunks = self.chunks.read();
        let left = head.saturating_sub(chunks.dropped as u64 * CHUNK) as usize;
        let kept = chunks.kept.iter().flat_map(|chunk| chunk.iter());
        match (chunks.unacked + unacked(kept.take(left)), self.acks()) {
            (0, acks) if acks == head => Ok(()),
            (never, acks) => Err(format!("{acks} acks for {head}, {never} were never acked")),
        }
    }

    /// Each seq up to `head` was acked, or is that of a message whose publisher was closed before its answer, and no
    /// newer than the topic was then.
    pub(crate) fn check_unacked(
        &self,
        head: u64,
        unanswered: &HashMap<MessageId, u64>,
    ) -> Result<(), String> {
        let chunks = self.chunks.read();
        let first = chunks.dropped as u64 * CHUNK + 1;
        let mut unacked = chunks.unacked as u64;
        let slots = chunks.kept.iter().flat_map(|chunk| chunk.iter());
        for (seq, slot) in (first..=head).zip(slots) {
            let id = MessageId(slot.load(Ordering::SeqCst));
            if id.0 & ACKED != 0 {
                continue;
            }
            unacked += 1;
            // No subscriber received it: it was reported as a gap to all.
            if id == MessageId(0) {
                continue;
            }
            match unanswered.get(&id) {
                Some(newest) if seq <= *newest => {}
                Some(newest) => {
                    let text = format!(
                        "{id:x?} is {seq}, published after its publisher was closed at {newest}"
                    );
                    return Err(text);
                }
                None => return Err(format!("{id:x?} is {seq}, and was never acked")),
            }
        }
        match self.acks() + unacked == head {
            true => Ok(()),
            false => Err(format!(
                "{} acks for {head}, {unacked} were never acked",
                self.acks()
            )),
        }
    }

    /// Sets the message at `seq` if nobody has; returns what stood there.
    fn record(&self, seq: u64, id: MessageId, mark: u64) -> Result<u64, String> {
        let Some((chunk, at)) = self.slot(seq) else {
            return Err(format!("seq {seq} cannot be: far ahead, far behind, or 0"));
        };
        match chunk[at].compare_exchange(0, id.0 | mark, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(before) => Ok(before),
            Err(_) if mark != 0 => Ok(chunk[at].fetch_or(mark, Ordering::SeqCst)),
            Err(before) => Ok(before),
        }
    }

    fn slot(&self, seq: u64) -> Option<(Chunk, usize)> {
        let index = seq.checked_sub(1)?;
        let (chunk, at) = ((index / CHUNK) as usize, (index % CHUNK) as usize);
        let known = |chunks: &Chunks| chunks.get(chunk).map(|chunk| (chunk, at));
        let found = known(&self.chunks.read());
        if found.is_some() || seq > self.newest_acked() + MOST_AHEAD {
            return found;
        }
        let mut chunks = self.chunks.write();
        while chunks.dropped + chunks.kept.len() <= chunk {
            chunks.grow();
        }
        known(&chunks)
    }
}

fn agree(before: u64, seq: u64, id: MessageId) -> Result<(), String> {
    match MessageId(before & !ACKED) {
        MessageId(0) => Ok(()),
        same if same == id => Ok(()),
        other => Err(format!("seq {seq} is {id:x?} and {other:x?}")),
    }
}
