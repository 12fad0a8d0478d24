//! The lock order, checked at every lock that is taken: the table of ARCHITECTURE.md.

use std::any::type_name;
use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::Location;

use shuttle::current::{self, TaskId};

/// What may be taken under what. A lock that does not stand here is not of the checked code.
const MAY_BE_TAKEN: &[(&str, &[&str])] = &[
    ("registry", &["ledger", "limited log"]),
    ("ledger", &[]),
    ("connections", &["limited log"]),
    ("subscriptions", &[]),
    ("ready", &[]),
    ("limited log", &[]),
    ("topic", &[]),
    ("gate", &["topic"]),
    ("cursor", &["gate", "topic"]),
    ("outbox", &["subscriptions", "cursor", "gate", "topic"]),
    (
        "turn",
        &[
            "outbox",
            "ready",
            "cursor",
            "gate",
            "topic",
            "subscriptions",
            "limited log",
        ],
    ),
];

/// A lock's place in the order: named after the file that makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(Option<&'static str>);

/// A lock held by the running thread.
pub(super) struct Held {
    task: TaskId,
    place: Place,
}

thread_local! {
    /// What each thread of the model holds; they all run on one thread.
    static HELD: RefCell<HashMap<TaskId, Vec<Place>>> = RefCell::default();
}

/// The locks that the running thread holds.
#[cfg(test)]
pub(crate) fn held() -> Vec<&'static str> {
    HELD.with_borrow(|held| {
        held.get(&current::me())
            .map(|places| places.iter().filter_map(|place| place.0).collect())
            .unwrap_or_default()
    })
}

#[cfg(test)]
pub(super) fn forget_held() {
    HELD.with_borrow_mut(HashMap::clear);
}

impl Place {
    #[track_caller]
    pub(super) fn here<T>() -> Place {
        let path = Location::caller().file();
        let file = path.rsplit('/').next().unwrap_or(path);
        Place(match file.trim_end_matches(".rs") {
            "registry" => Some("registry"),
            "ledger" => Some("ledger"),
            "connections" => Some("connections"),
            "connection" => Some("subscriptions"),
            "limited_log" => Some("limited log"),
            "topic" => Some("topic"),
            "gate" => Some("gate"),
            "subscription" => Some("cursor"),
            "fan_out" => Some("turn"),
            "outbox" if type_name::<T>().ends_with("Sending") => Some("outbox"),
            "outbox" => Some("ready"),
            _ => None,
        })
    }

    /// The running thread is about to hold it.
    pub(super) fn take(self) -> Held {
        let task = current::me();
        HELD.with_borrow_mut(|held| {
            let held = held.entry(task).or_default();
            for under in held.iter() {
                under.check(self);
            }
            held.push(self);
        });
        Held { task, place: self }
    }

    fn check(self, taken: Place) {
        let (Some(under), Some(taken)) = (self.0, taken.0) else {
            return;
        };
        let allowed = MAY_BE_TAKEN.iter().find(|(lock, _)| *lock == under);
        assert!(
            allowed.is_some_and(|(_, locks)| locks.contains(&taken)),
            "lock order: '{taken}' taken under '{under}'"
        );
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.with_borrow_mut(|held| {
            if let Some(held) = held.get_mut(&self.task)
                && let Some(at) = held.iter().rposition(|place| *place == self.place)
            {
                held.remove(at);
            }
        });
    }
}
