//! A topic that mirrors a topic of the cluster: appends entries that another server or Redis has numbered.

use super::{State, Topic};
use crate::broker::mirror::{Action, Entry, Mirror, Place, Token};
use crate::protocol::{EpochName, NewEvent};
use crate::sync::Ordering;

/// Where an entry came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// From this node's publish, or from the topic's channel.
    Live,
    /// From the stream. Entries that are missing before it are gone.
    Stream,
    /// From the stream, after an interruption: a replay.
    Replay,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    Appended,
    /// The mirror has it already, or is no mirror any more.
    Ignored,
    /// Too many events are not fanned out yet: wait for room.
    Full,
    /// Events are missing before it, or it contradicts the mirror: read the stream.
    MustRead,
}

impl Topic {
    /// Where the mirror is; `None` if the topic is no mirror or was deleted.
    pub(crate) fn place(&self) -> Option<Place> {
        let state = self.state.read();
        let mirror = state.mirror.as_ref().filter(|_| !state.deleted)?;
        Some(mirror.place().clone())
    }

    /// Whether the mirror was in this epoch before the current one.
    pub(crate) fn has_ended(&self, epoch: EpochName) -> bool {
        let state = self.state.read();
        state
            .mirror
            .as_ref()
            .is_some_and(|mirror| mirror.has_ended(epoch))
    }

    /// Whether the mirror has this entry, or is no mirror any more.
    pub(crate) fn has_entry(&self, entry: &Entry<'_>) -> bool {
        let state = self.state.read();
        let mirror = state.mirror.as_ref().filter(|_| !state.deleted);
        mirror.is_none_or(|mirror| mirror.judge(entry) == Action::Ignore)
    }

    /// Appends an entry if it is the next one. Never waits, and does not deliver its events: see [`Topic::fan_out`].
    pub(crate) fn append_entry(&self, entry: &Entry<'_>, source: Source) -> Applied {
        let mut guard = self.state.write();
        let state = &mut *guard;
        let Some(mirror) = state.mirror.as_mut().filter(|_| !state.deleted) else {
            return Applied::Ignored;
        };
        let action = mirror.judge(entry);
        let is_after = entry.epoch == mirror.place().epoch && entry.first > mirror.place().seq;
        match action {
            Action::Ignore => return Applied::Ignored,
            Action::Read if source == Source::Live || !is_after => return Applied::MustRead,
            _ if self.is_window_full(state, entry.events.len()) => return Applied::Full,
            Action::Append => {}
            Action::Read => self.skip_to_locked(state, entry.first - 1, entry.previous),
        }
        self.append_locked(state, entry, source);
        let due = self.begin_queueing(state);
        drop(guard);
        self.finish_queueing(due);
        if self.memory_budget.is_exceeded() {
            self.memory_budget.evict_to_budget();
        }
        Applied::Appended
    }

    /// Begins another epoch after this place in it, if the mirror is still in the epoch `ended`.
    pub(crate) fn begin_epoch(&self, ended: EpochName, begun: &Place) {
        let mut state = self.state.write();
        let is_in = |mirror: &Mirror| mirror.place().epoch == ended;
        if !state.deleted && state.mirror.as_ref().is_some_and(is_in) {
            self.begin_epoch_locked(&mut state, begun.epoch, begun.seq, begun.token);
        }
    }

    /// Skips the events up to this place, which are gone; every subscription gets a gap.
    pub(crate) fn skip_to(&self, place: &Place) {
        let mut state = self.state.write();
        let is_behind = |here: &Place| here.epoch == place.epoch && here.seq < place.seq;
        if state
            .mirror
            .as_ref()
            .is_some_and(|mirror| is_behind(mirror.place()))
        {
            self.skip_to_locked(&mut state, place.seq, place.token);
        }
    }

    fn begin_epoch_locked(&self, state: &mut State, epoch: EpochName, seq: u64, token: Token) {
        state.epochs.begin(epoch, state.log.head(), seq);
        if let Some(mirror) = &mut state.mirror {
            mirror.began(Place { epoch, seq, token });
        }
    }

    fn skip_to_locked(&self, state: &mut State, seq: u64, token: Token) {
        let position = state.epochs.current().position(seq);
        state.log.skip_to(position);
        if let Some(mirror) = &mut state.mirror {
            mirror.skipped(seq, token);
        }
        self.set_head(state, position);
        self.replay_upto.store(position, Ordering::Release);
        self.update_figures(state);
    }

    fn append_locked(&self, state: &mut State, entry: &Entry<'_>, source: Source) {
        let evictable = self.fan_out.seq();
        let mut seq = entry.first;
        for (message, ts) in entry.messages().take(entry.count as usize) {
            let event = NewEvent::new(&self.name, &message, seq, ts);
            state.log.append(&event, evictable);
            state.newest = ts;
            seq += 1;
        }
        let position = state.epochs.current().position(entry.last());
        if seq <= entry.last() {
            // Its bytes are broken: what cannot be read is a gap.
            tracing::error!(topic = %self.name, seq, "an entry of the topic is broken in Redis");
            state.log.skip_to(position);
        }
        if let Some(mirror) = &mut state.mirror {
            mirror.appended(entry);
        }
        self.fan_out.published_at(state.newest.micros());
        self.set_head(state, position);
        if source == Source::Replay {
            self.replay_upto.store(position, Ordering::Release);
        }
        self.update_figures(state);
    }

    fn set_head(&self, state: &State, position: u64) {
        debug_assert_eq!(state.log.head(), position);
        self.head.store(position, Ordering::Release);
    }
}
