//! Who is subscribed to a topic, as a subscription with presence hears of it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Who is subscribed to a topic, or who came and left; delivered to a subscription with
/// [`presence`](super::Subscriber::presence).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    topic: Arc<str>,
    total: u64,
    change: PresenceChange,
}

/// What a [`Presence`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresenceChange {
    /// The `client_id` of everybody who is subscribed, this subscription included; of more than 1000, the first 1000 by name.
    /// Comes when the subscription of the topic begins, after every reconnect, and when this subscription read so slowly that
    /// the server has forgotten some of the changes. Replaces what the caller has.
    List(Vec<String>),
    /// Who came and left since the last delivery of this kind: at most 1000 names in each, the others follow at once. Who left
    /// and came back meanwhile is in neither.
    Changes {
        /// They were not subscribed before, and are now.
        joined: Vec<String>,
        /// They were subscribed before, and are not now.
        left: Vec<String>,
    },
}

impl Presence {
    pub(super) fn new(topic: &str, total: u64, change: PresenceChange) -> Presence {
        Presence {
            topic: topic.into(),
            total,
            change,
        }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// How many are subscribed after this, also those that no list names. In a cluster: to any of its servers.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The list, or the changes.
    #[must_use]
    pub fn change(&self) -> &PresenceChange {
        &self.change
    }

    /// Brings the names of those who are subscribed to this topic up to date. All deliveries of a topic, applied in their order, give
    /// the whole list, as long as there were at most 1000 at its last [`List`](PresenceChange::List).
    pub fn apply_to(&self, subscribers: &mut BTreeSet<String>) {
        match &self.change {
            PresenceChange::List(names) => *subscribers = names.iter().cloned().collect(),
            PresenceChange::Changes { joined, left } => {
                for name in left {
                    subscribers.remove(name);
                }
                subscribers.extend(joined.iter().cloned());
            }
        }
    }
}

impl fmt::Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} subscribed to '{}'", self.total, self.topic)?;
        match &self.change {
            PresenceChange::List(names) => {
                write_names(f, ": ", names)?;
                match self.total.saturating_sub(names.len() as u64) {
                    0 => Ok(()),
                    others => write!(f, " and {others} more"),
                }
            }
            PresenceChange::Changes { joined, left } => {
                write_names(f, "; joined: ", joined)?;
                write_names(f, "; left: ", left)
            }
        }
    }
}

fn write_names(f: &mut fmt::Formatter<'_>, before: &str, names: &[String]) -> fmt::Result {
    match names {
        [] => Ok(()),
        names => write!(f, "{before}{}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn list(total: u64, of: &[&str]) -> Presence {
        Presence::new("t", total, PresenceChange::List(names(of)))
    }

    fn changes(total: u64, joined: &[&str], left: &[&str]) -> Presence {
        let (joined, left) = (names(joined), names(left));
        Presence::new("t", total, PresenceChange::Changes { joined, left })
    }

    #[test]
    fn applied_in_order_they_give_the_list() {
        let mut subscribers = BTreeSet::new();
        let mut after = |presence: &Presence| {
            presence.apply_to(&mut subscribers);
            subscribers.iter().cloned().collect::<Vec<_>>()
        };
        assert_eq!(after(&list(2, &["a", "b"])), ["a", "b"]);
        assert_eq!(after(&changes(2, &["c"], &["a"])), ["b", "c"]);
        assert_eq!(after(&changes(1, &[], &["unknown", "b"])), ["c"]);
        assert_eq!(after(&list(2, &["x", "y"])), ["x", "y"]);
    }

    #[test]
    fn text_says_how_many_and_who() {
        for (presence, text) in [
            (list(2, &["a", "b"]), "2 subscribed to 't': a, b"),
            (list(7, &["a"]), "7 subscribed to 't': a and 6 more"),
            (
                changes(3, &["c", "d"], &["a"]),
                "3 subscribed to 't'; joined: c, d; left: a",
            ),
            (changes(1, &[], &["a"]), "1 subscribed to 't'; left: a"),
        ] {
            assert_eq!(presence.to_string(), text);
        }
    }
}
