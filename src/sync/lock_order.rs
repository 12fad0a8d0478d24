//! The names of the locks, and the order in which they may be taken.
//!
//! ARCHITECTURE.md has the same table; a test compares them. The model checker checks every lock that is taken.

/// The name of a lock, given where it is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    Appearing,
    Patterns,
    LostTopics,
    Registry,
    MemoryBudget,
    Expiry,
    PresenceRounds,
    Topic,
    Gate,
    GroupCommit,
    Outbox,
    Overflow,
    Subscriptions,
    LargeEvent,
    Connections,
    ConnectionInfo,
    TlsSession,
    AddressLimits,
    KeyReload,
    Keys,
    TokenKeys,
    TokenRefresh,
    Users,
    LimitedLog,
    /// A lock of a model, which may be taken under any lock.
    #[cfg(all(test, shuttle))]
    Model,
}

/// Which locks may be taken while one is held.
#[cfg(any(test, shuttle))]
pub(crate) const LOCK_ORDER: &[(Lock, &[Lock])] = &[
    (
        Lock::Appearing,
        &[
            Lock::Patterns,
            Lock::LostTopics,
            Lock::Registry,
            Lock::MemoryBudget,
            Lock::Expiry,
            Lock::PresenceRounds,
            Lock::Outbox,
            Lock::Overflow,
            Lock::Subscriptions,
            Lock::Gate,
            Lock::Topic,
            Lock::TlsSession,
            Lock::LimitedLog,
        ],
    ),
    (Lock::Patterns, &[]),
    (Lock::LostTopics, &[]),
    (
        Lock::Registry,
        &[Lock::MemoryBudget, Lock::Topic, Lock::LimitedLog],
    ),
    (Lock::MemoryBudget, &[]),
    (Lock::Expiry, &[]),
    (Lock::PresenceRounds, &[]),
    (Lock::Connections, &[Lock::TlsSession, Lock::LimitedLog]),
    (Lock::ConnectionInfo, &[]),
    (Lock::TlsSession, &[]),
    (Lock::AddressLimits, &[]),
    (Lock::KeyReload, &[Lock::Keys, Lock::TokenKeys]),
    (Lock::Keys, &[]),
    (Lock::TokenKeys, &[]),
    (Lock::TokenRefresh, &[]),
    (Lock::Users, &[]),
    (
        Lock::Outbox,
        &[
            Lock::PresenceRounds,
            Lock::Subscriptions,
            Lock::LostTopics,
            Lock::Topic,
            Lock::LargeEvent,
            Lock::TlsSession,
        ],
    ),
    (Lock::Overflow, &[]),
    (Lock::Subscriptions, &[]),
    (Lock::Gate, &[Lock::Topic]),
    (Lock::GroupCommit, &[]),
    (Lock::Topic, &[]),
    (Lock::LargeEvent, &[]),
    (Lock::LimitedLog, &[]),
];

#[cfg(shuttle)]
impl Lock {
    /// Whether `other` may be taken while this one is held.
    pub(crate) fn allows(self, other: Lock) -> bool {
        #[cfg(test)]
        if [self, other].contains(&Lock::Model) {
            return true;
        }
        LOCK_ORDER
            .iter()
            .any(|(held, allowed)| *held == self && allowed.contains(&other))
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    /// The name as in the document: `MemoryBudget` is `memory budget`.
    fn in_words(lock: Lock) -> String {
        let mut words = String::new();
        for letter in format!("{lock:?}").chars() {
            if letter.is_uppercase() && !words.is_empty() {
                words.push(' ');
            }
            words.push(letter.to_ascii_lowercase());
        }
        words
    }

    #[test]
    fn architecture_md_has_the_same_lock_order() {
        let document = include_str!("../../ARCHITECTURE.md");
        let (_, section) = document.split_once("\n## Locks\n").unwrap();
        let rows = section
            .lines()
            .skip_while(|line| !line.starts_with("| lock "))
            .skip(2)
            .take_while(|line| line.starts_with('|'));
        let documented: Vec<(String, String)> = rows
            .map(|row| {
                let cells: Vec<&str> = row.split('|').map(str::trim).collect();
                let (name, _) = cells[1].split_once(" (").unwrap();
                (name.to_owned(), cells[3].to_owned())
            })
            .collect();
        let in_code: Vec<(String, String)> = LOCK_ORDER
            .iter()
            .map(|(lock, allowed)| {
                let allowed: Vec<String> = allowed.iter().copied().map(in_words).collect();
                let allowed = match allowed.is_empty() {
                    true => "nothing".to_owned(),
                    false => allowed.join(", "),
                };
                (in_words(*lock), allowed)
            })
            .collect();
        assert_eq!(documented, in_code);
    }

    #[test]
    fn the_order_has_no_cycle() {
        fn visit(lock: Lock, path: &mut Vec<Lock>) {
            assert!(!path.contains(&lock), "{path:?} → {lock:?}");
            path.push(lock);
            let under = LOCK_ORDER.iter().filter(|(held, _)| *held == lock);
            under
                .flat_map(|(_, allowed)| *allowed)
                .for_each(|allowed| visit(*allowed, path));
            path.pop();
        }
        for (lock, _) in LOCK_ORDER {
            visit(*lock, &mut Vec::new());
        }
    }
}
