//! Presence: who is subscribed to a topic, and who came and left since a watcher last heard of it. Pure.
//!
//! A topic has this only while somebody watches it. Changes are numbered, and each watcher has the number of the first one that it
//! has not heard of. What a watcher hears is the difference that all changes since then make: who left and came back is in none.
//! So a watcher that reads slowly costs no more than its number, and hears of the same changes in fewer notices.

use std::collections::{BTreeMap, VecDeque};

use crate::protocol::ClientId;
use crate::sync::HashMap;

/// The most names in one list.
pub(super) const MAX_NAMES: usize = 1000;
/// Changes that are kept for watchers, or twice as many as are subscribed, if that is more. A watcher that has not heard of more
/// than these gets the whole list again.
const MIN_KEPT: usize = if cfg!(test) { 16 } else { 8192 };

/// Who is subscribed: how many, and the first names in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PresenceList {
    pub(crate) total: usize,
    pub(crate) names: Vec<ClientId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    client_id: ClientId,
    has_joined: bool,
}

/// What a watcher has not heard of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Changes, and how many are subscribed after them.
    Changes(Changes, usize),
    /// Too many changes.
    All(PresenceList),
}

/// Changes in their order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changes(Vec<Change>);

/// The difference that changes make.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) joined: Vec<ClientId>,
    pub(super) left: Vec<ClientId>,
}

#[derive(Default)]
pub(super) struct Presence {
    /// Everybody who is subscribed, and the order of each subscription in the cluster; 0 in an embedded server.
    members: BTreeMap<ClientId, u64>,
    changes: VecDeque<Change>,
    /// The number of the first of these changes.
    first: u64,
    /// The changes before this number may be sent, and this many are subscribed after them.
    round_end: u64,
    total: usize,
    /// The first change that each watcher has not heard of.
    watchers: HashMap<ClientId, u64>,
}

impl Presence {
    pub(super) fn new(members: impl IntoIterator<Item = (ClientId, u64)>) -> Presence {
        Presence {
            members: members.into_iter().collect(),
            ..Presence::default()
        }
    }

    fn end(&self) -> u64 {
        self.first + self.changes.len() as u64
    }

    /// Notes a subscription. Returns whether a round begins with that: [`Presence::end_round`] must follow some time later.
    pub(super) fn joined(&mut self, client_id: &ClientId, order: u64) -> bool {
        match self.members.get_mut(client_id) {
            Some(held) => {
                *held = order.max(*held);
                false
            }
            None => {
                self.members.insert(client_id.clone(), order);
                self.note(client_id, true)
            }
        }
    }

    /// Notes the end of this subscription, unless the client id has a newer one. Returns whether a round begins with that.
    pub(super) fn left(&mut self, client_id: &ClientId, order: u64) -> bool {
        if self.members.get(client_id) != Some(&order) {
            return false;
        }
        self.members.remove(client_id);
        self.note(client_id, false)
    }

    fn note(&mut self, client_id: &ClientId, has_joined: bool) -> bool {
        if self.watchers.is_empty() {
            return false;
        }
        let begins = self.end() == self.round_end;
        self.changes.push_back(Change {
            client_id: client_id.clone(),
            has_joined,
        });
        let surplus = self.changes.len().saturating_sub(self.max_kept());
        self.changes.drain(..surplus);
        self.first += surplus as u64;
        begins
    }

    fn max_kept(&self) -> usize {
        MIN_KEPT.max(2 * self.members.len())
    }

    /// Lets a client watch from now on, and returns what it starts with.
    pub(super) fn watch(&mut self, client_id: &ClientId) -> PresenceList {
        if self.watchers.is_empty() {
            self.forget_heard();
            self.end_round();
        }
        self.watchers.insert(client_id.clone(), self.end());
        self.list()
    }

    pub(super) fn unwatch(&mut self, client_id: &ClientId) {
        self.watchers.remove(client_id);
    }

    pub(super) fn watchers(&self) -> impl Iterator<Item = &ClientId> {
        self.watchers.keys()
    }

    pub(super) fn is_watched(&self) -> bool {
        !self.watchers.is_empty()
    }

    /// The changes up to now may be sent.
    pub(super) fn end_round(&mut self) {
        (self.round_end, self.total) = (self.end(), self.members.len());
    }

    /// The first change that a watcher has not heard of, and the end of those that may be sent; `None` if there is none.
    pub(super) fn unheard(&self, watcher: &ClientId) -> Option<(u64, u64)> {
        let at = *self.watchers.get(watcher)?;
        (at < self.round_end).then_some((at, self.round_end))
    }

    /// A watcher hears of these changes.
    pub(super) fn heard(&mut self, watcher: &ClientId, upto: u64) {
        self.watchers.insert(watcher.clone(), upto);
    }

    /// Changes that a watcher has not heard of; it hears of them now.
    pub(super) fn take(&mut self, watcher: &ClientId, from: u64, upto: u64) -> News {
        if from < self.first {
            self.heard(watcher, self.end());
            return News::All(self.list());
        }
        self.heard(watcher, upto);
        let [from, upto] = [from, upto].map(|number| (number - self.first) as usize);
        let changes = self.changes.range(from..upto).cloned().collect();
        News::Changes(Changes(changes), self.total)
    }

    /// Forgets the changes that all watchers have heard of.
    pub(super) fn forget_heard(&mut self) {
        let slowest = self.watchers.values().copied().min();
        let upto = slowest.unwrap_or_else(|| self.end()).max(self.first);
        self.changes.drain(..(upto - self.first) as usize);
        self.first = upto;
    }

    /// Replaces everybody by these. Returns whether a round begins with that.
    pub(super) fn replace(&mut self, members: BTreeMap<ClientId, u64>) -> bool {
        let gone: Vec<_> = self
            .members
            .iter()
            .filter(|(client_id, _)| !members.contains_key(*client_id))
            .map(|(client_id, order)| (client_id.clone(), *order))
            .collect();
        let mut begins = false;
        for (client_id, order) in gone {
            begins |= self.left(&client_id, order);
        }
        for (client_id, order) in &members {
            begins |= self.joined(client_id, *order);
        }
        self.members = members;
        begins
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    fn list(&self) -> PresenceList {
        PresenceList {
            total: self.members.len(),
            names: self.members.keys().take(MAX_NAMES).cloned().collect(),
        }
    }
}

impl Changes {
    /// The first change of a client says whether it was there before, the last one whether it is there now.
    pub(super) fn difference(&self) -> Difference {
        let mut ends: BTreeMap<&ClientId, (bool, bool)> = BTreeMap::new();
        for Change {
            client_id,
            has_joined,
        } in &self.0
        {
            let (_, last) = ends.entry(client_id).or_insert((*has_joined, *has_joined));
            *last = *has_joined;
        }
        let mut difference = Difference::default();
        for (client_id, (first, last)) in ends {
            match (first, last) {
                (true, true) => difference.joined.push(client_id.clone()),
                (false, false) => difference.left.push(client_id.clone()),
                (true, false) | (false, true) => {}
            }
        }
        difference
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
