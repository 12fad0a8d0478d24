//! The mirror of a topic on this node: which entry of the cluster's log continues the node's log. Pure: no lock, no I/O.
//!
//! Nothing is trusted to arrive. An entry is appended only if it continues the mirror in number and in token. Anything
//! else is either a copy of what is there, or a reason to read the stream.

mod entry;

use std::collections::VecDeque;

use crate::protocol::EpochName;
pub(crate) use entry::{Batch, Entry, Keyed, Token, TopicMessage, parse};

/// Entries whose tokens are remembered, so that copies are recognised.
const MAX_RECENT: usize = 256;
/// Ended epochs that are remembered. Redis may come back with one of them.
const MAX_ENDED: usize = 16;

/// How far a node has the log of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) epoch: EpochName,
    /// The last seq, and the token of its entry.
    pub(crate) seq: u64,
    pub(crate) token: Token,
}

#[derive(Debug)]
pub(crate) struct Mirror {
    place: Place,
    /// The last seqs of the newest entries and their tokens, oldest first.
    recent: VecDeque<(u64, Token)>,
    ended: VecDeque<EpochName>,
}

/// What to do with an entry that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// It is the next one.
    Append,
    /// It is a copy of an entry that the mirror has.
    Ignore,
    /// Entries are missing before it, or it contradicts the mirror: read the stream. So does the first one of another epoch:
    /// only Redis says whether the topic was deleted and made again, or goes on without events that it has lost.
    Read,
}

/// What Redis holds of a topic, read in one step.
#[derive(Debug)]
pub(crate) struct Snapshot<'a> {
    pub(crate) place: Place,
    /// The entries from the mirror's last one on, oldest first; perhaps not all of them.
    pub(crate) entries: &'a [Entry<'a>],
}

/// How a snapshot continues a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// The entries continue the mirror. `is_whole`: events between them and the mirror were trimmed if it is false.
    Continues { is_whole: bool },
    /// The topic is in an epoch that is new to the mirror.
    NewEpoch,
    /// Redis has lost events that the mirror has, and perhaps gone on without them.
    Lost,
}

impl Mirror {
    pub(crate) fn new(place: Place) -> Mirror {
        let mut mirror = Mirror {
            place,
            recent: VecDeque::new(),
            ended: VecDeque::new(),
        };
        mirror.remember();
        mirror
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// What to do with an entry from the topic's channel, or with one that this node has just published.
    pub(crate) fn judge(&self, entry: &Entry<'_>) -> Action {
        let place = &self.place;
        if entry.epoch != place.epoch {
            return Action::Read;
        }
        if entry.last() <= place.seq {
            return match self.knows(entry) {
                true => Action::Ignore,
                false => Action::Read,
            };
        }
        match entry.first == place.seq + 1 && entry.previous == place.token {
            true => Action::Append,
            false => Action::Read,
        }
    }

    /// Notes that an entry was appended.
    pub(crate) fn appended(&mut self, entry: &Entry<'_>) {
        self.place.seq = entry.last();
        self.place.token = entry.token;
        self.remember();
    }

    /// Notes that events up to this place were skipped.
    pub(crate) fn skipped(&mut self, seq: u64, token: Token) {
        self.place.seq = seq;
        self.place.token = token;
        self.recent.clear();
        self.remember();
    }

    /// Notes the begin of an epoch, after this place in it.
    pub(crate) fn began(&mut self, place: Place) {
        let ended = std::mem::replace(&mut self.place, place);
        self.ended.push_back(ended.epoch);
        if self.ended.len() > MAX_ENDED {
            self.ended.pop_front();
        }
        self.recent.clear();
        self.remember();
    }

    pub(crate) fn has_ended(&self, epoch: EpochName) -> bool {
        self.ended.contains(&epoch)
    }

    /// Whether this is an entry that the mirror has, or had so long ago that nobody can tell.
    fn knows(&self, entry: &Entry<'_>) -> bool {
        let is_older = self
            .recent
            .front()
            .is_none_or(|(seq, _)| entry.last() < *seq);
        is_older || self.recent.contains(&(entry.last(), entry.token))
    }

    fn remember(&mut self) {
        self.recent.push_back((self.place.seq, self.place.token));
        if self.recent.len() > MAX_RECENT {
            self.recent.pop_front();
        }
    }
}

impl Place {
    /// Reads the texts that Redis has for it.
    pub(crate) fn parse(epoch: &str, seq: &str, token: &str) -> Option<Place> {
        Some(Place {
            epoch: EpochName::parse(epoch)?,
            seq: seq.parse().ok()?,
            token: Token::parse(token)?,
        })
    }

    /// How what Redis holds continues a mirror that was here when it was read.
    pub(crate) fn compare(&self, snapshot: &Snapshot<'_>) -> Comparison {
        let there = &snapshot.place;
        if there.epoch != self.epoch {
            return Comparison::NewEpoch;
        }
        if there.seq <= self.seq {
            return match there == self {
                true => Comparison::Continues { is_whole: true },
                false => Comparison::Lost,
            };
        }
        let Some(first) = snapshot.entries.first() else {
            return Comparison::Continues { is_whole: false };
        };
        let follows = match first.last() == self.seq {
            true => first.token == self.token,
            false if first.first == self.seq + 1 => first.previous == self.token,
            false if first.first > self.seq => return Comparison::Continues { is_whole: false },
            false => false,
        };
        match follows {
            true => Comparison::Continues { is_whole: true },
            false => Comparison::Lost,
        }
    }
}

#[cfg(test)]
mod tests;
