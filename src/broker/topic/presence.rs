//! Who is subscribed to a topic, for those who watch it.
//!
//! In an embedded server the subscriptions themselves say who joins and leaves. On a node of a cluster Redis says it, for all nodes;
//! what it says while the list is being read waits until then.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{State, Topic};
use crate::broker::Subscription;
use crate::broker::presence::{Difference, MAX_NAMES, News, Presence, PresenceList};
use crate::protocol::{ClientId, push_presence_changes, push_presence_list};
use crate::sync::Arc;

/// How long changes are collected into one notice.
const ROUND: Duration = Duration::from_millis(250);

/// Guarded by the topic's lock.
pub(super) struct Watched {
    presence: Presence,
    /// On a node of a cluster: what has come while the list is being read.
    early: Option<Vec<Membership>>,
    /// The list was read at least once.
    is_known: bool,
}

/// In a cluster: a subscription has joined, or has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) client_id: ClientId,
    pub(crate) order: u64,
    pub(crate) has_joined: bool,
}

impl Watched {
    fn apply(&mut self, membership: &Membership) -> bool {
        let Membership {
            client_id,
            order,
            has_joined,
        } = membership;
        match has_joined {
            true => self.presence.joined(client_id, *order),
            false => self.presence.left(client_id, *order),
        }
    }
}

/// Notices of one topic for watchers that have heard of the same changes, encoded once.
#[derive(Default)]
pub(crate) struct PresenceBatch {
    heard: Option<(u64, u64)>,
    frames: Vec<u8>,
    notices: u64,
}

impl State {
    /// A newer subscription, which this node may have heard of before, has its place.
    pub(super) fn note_superseded(&mut self, older: &Subscription) -> bool {
        let Some(watched) = &mut self.watched else {
            return false;
        };
        watched.presence.unwatch(older.client_id());
        watched.presence.left(older.client_id(), older.order())
    }
}

impl Topic {
    fn is_mirror(&self) -> bool {
        self.departures.is_some()
    }

    /// Whether a subscription that watches can be opened.
    pub(super) fn knows_presence(&self, state: &State) -> bool {
        let watched = state.watched.as_ref();
        !self.is_mirror() || watched.is_some_and(|watched| watched.is_known)
    }

    /// Notes a subscription that was just added. Returns what it starts with if it watches, and whether a round begins, as do
    /// all functions here that end with a `bool`: [`Topic::finish_presence`] must follow, without the lock.
    pub(super) fn note_joined(
        &self,
        state: &mut State,
        subscription: &Subscription,
    ) -> (Option<PresenceList>, bool) {
        let (client_id, watches) = (subscription.client_id(), subscription.watches());
        if state.watched.is_none() && watches {
            let members = state.subscribers.iter();
            let members = members.map(|member| (member.client_id().clone(), member.order()));
            state.watched = Some(Box::new(Watched {
                presence: Presence::new(members),
                early: None,
                is_known: true,
            }));
        }
        let Some(Watched { presence, .. }) = state.watched.as_deref_mut() else {
            return (None, false);
        };
        // In a cluster Redis says it too, perhaps later than the client that watches gets its list.
        let begins =
            (watches || !self.is_mirror()) && presence.joined(client_id, subscription.order());
        if watches {
            return (Some(presence.watch(client_id)), begins);
        }
        presence.unwatch(client_id);
        let is_watched = self.is_still_watched(state);
        (None, begins && is_watched)
    }

    /// Notes the end of a subscription.
    pub(super) fn note_left(&self, state: &mut State, subscription: &Subscription) -> bool {
        let Some(Watched { presence, .. }) = state.watched.as_deref_mut() else {
            return false;
        };
        presence.unwatch(subscription.client_id());
        let begins =
            !self.is_mirror() && presence.left(subscription.client_id(), subscription.order());
        let is_watched = self.is_still_watched(state);
        begins && is_watched
    }

    /// Nothing is noted when nobody watches. A mirror follows it a little longer.
    fn is_still_watched(&self, state: &mut State) -> bool {
        let watched = state.watched.as_ref();
        let is_watched = watched.is_some_and(|watched| watched.presence.is_watched());
        if !is_watched && !self.is_mirror() {
            state.watched = None;
        }
        is_watched
    }

    pub(super) fn finish_presence(&self, begins: bool) {
        if begins {
            self.queues.presence.add(self.key, Instant::now() + ROUND);
        }
    }

    /// Lets all watchers hear of the changes up to now.
    pub(crate) fn end_presence_round(&self) {
        let mut batch = PresenceBatch::default();
        for watcher in self.end_round() {
            watcher.presence_changed(&mut batch);
        }
        if let Some(watched) = &mut self.state.write().watched {
            watched.presence.forget_heard();
        }
    }

    fn end_round(&self) -> Vec<Arc<Subscription>> {
        let mut state = self.state.write();
        let State {
            watched,
            subscribers,
            ..
        } = &mut *state;
        let Some(Watched { presence, .. }) = watched.as_deref_mut() else {
            return Vec::new();
        };
        presence.end_round();
        let watchers = presence.watchers();
        watchers
            .filter_map(|watcher| subscribers.get(watcher).cloned())
            .collect()
    }

    /// The notices that a watcher is to get; it counts as having heard of what they say. Called under the outbox lock of its
    /// connection, in which they are queued. Empty if there is nothing new.
    pub(crate) fn take_presence<'a>(
        &self,
        watcher: &Subscription,
        batch: &'a mut PresenceBatch,
    ) -> &'a [u8] {
        let mut state = self.state.write();
        if !state.subscribers.has(watcher) {
            return &[];
        }
        let client_id = watcher.client_id();
        let Some(Watched { presence, .. }) = state.watched.as_deref_mut() else {
            return &[];
        };
        let Some((from, upto)) = presence.unheard(client_id) else {
            return &[];
        };
        if batch.heard == Some((from, upto)) {
            presence.heard(client_id, upto);
            self.metrics().presence_notices(batch.notices);
            return &batch.frames;
        }
        let news = presence.take(client_id, from, upto);
        drop(state);
        let is_whole = matches!(news, News::All(_));
        batch.heard = Some((from, upto)).filter(|_| !is_whole);
        batch.frames.clear();
        batch.notices = self.push_news(&mut batch.frames, news);
        self.metrics().presence_notices(batch.notices);
        &batch.frames
    }

    /// Returns the number of notices.
    fn push_news(&self, frames: &mut Vec<u8>, news: News) -> u64 {
        let mut notices = 0;
        match news {
            News::All(PresenceList { total, names }) => {
                push_presence_list(frames, &self.name, total, &names);
                notices += 1;
            }
            News::Changes(changes, total) => {
                let Difference { joined, left } = changes.difference();
                let (mut joined, mut left) = (&joined[..], &left[..]);
                while !joined.is_empty() || !left.is_empty() {
                    let (come, gone);
                    (come, joined) = joined.split_at(joined.len().min(MAX_NAMES));
                    (gone, left) = left.split_at(left.len().min(MAX_NAMES));
                    push_presence_changes(frames, &self.name, total, come, gone);
                    notices += 1;
                }
            }
        }
        notices
    }

    /// On a node of a cluster: the list of subscribers is about to be read.
    pub(in crate::broker) fn begin_reading_presence(&self) {
        let mut state = self.state.write();
        if state.deleted {
            return;
        }
        let watched = state.watched.get_or_insert_with(|| {
            Box::new(Watched {
                presence: Presence::default(),
                early: None,
                is_known: false,
            })
        });
        watched.early = Some(Vec::new());
    }

    /// On a node of a cluster: the list that was read.
    pub(in crate::broker) fn presence_read(&self, members: BTreeMap<ClientId, u64>) {
        let mut state = self.state.write();
        let Some(watched) = state.watched.as_deref_mut() else {
            return;
        };
        let mut begins = watched.presence.replace(members);
        for membership in watched.early.take().into_iter().flatten() {
            begins |= watched.apply(&membership);
        }
        watched.is_known = true;
        drop(state);
        self.finish_presence(begins);
    }

    /// On a node of a cluster: somebody joined or left.
    pub(in crate::broker) fn presence_noted(&self, membership: Membership) {
        let mut state = self.state.write();
        let Some(watched) = state.watched.as_deref_mut() else {
            return;
        };
        if let Some(early) = &mut watched.early {
            early.push(membership);
            return;
        }
        let begins = watched.apply(&membership);
        drop(state);
        self.finish_presence(begins);
    }

    /// On a node of a cluster: who is subscribed as this node knows it, and whether somebody watches; `None` if it does not follow
    /// that.
    pub(in crate::broker) fn known_presence(&self) -> Option<(usize, bool)> {
        let state = self.state.read();
        let watched = state.watched.as_ref().filter(|watched| watched.is_known)?;
        Some((watched.presence.len(), watched.presence.is_watched()))
    }

    /// On a node of a cluster: follows no more who is subscribed, unless somebody watches.
    pub(in crate::broker) fn close_presence_if_unwatched(&self) -> bool {
        let mut state = self.state.write();
        let watched = state.watched.as_ref();
        let is_unwatched = watched.is_some_and(|watched| !watched.presence.is_watched());
        if is_unwatched {
            state.watched = None;
        }
        is_unwatched
    }
}
