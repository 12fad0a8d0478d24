#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn client(n: u8) -> ClientId {
    ClientId::new(&format!("s{n}")).unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    Join(u8, u64),
    Leave(u8, u64),
    Watch(u8),
    Unwatch(u8),
    EndRound,
    Hear(u8),
    Forget,
    Replace(BTreeSet<u8>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..6_u8, 1..4_u64).prop_map(|(n, order)| Step::Join(n, order)),
        4 => (0..6_u8, 1..4_u64).prop_map(|(n, order)| Step::Leave(n, order)),
        1 => (0..3_u8).prop_map(Step::Watch),
        1 => (0..3_u8).prop_map(Step::Unwatch),
        2 => Just(Step::EndRound),
        2 => (0..3_u8).prop_map(Step::Hear),
        1 => Just(Step::Forget),
        1 => prop::collection::btree_set(0..6_u8, 0..6).prop_map(Step::Replace),
    ];
    prop::collection::vec(step, 0..120)
}

/// What a client makes of what it gets.
fn apply(heard: &mut BTreeSet<ClientId>, news: News) -> usize {
    match news {
        News::All(list) => {
            *heard = list.names.into_iter().collect();
            list.total
        }
        News::Changes(changes, total) => {
            let Difference { joined, left } = changes.difference();
            for client_id in joined {
                assert!(heard.insert(client_id), "it was there already");
            }
            for client_id in left {
                assert!(heard.remove(&client_id), "it was not there");
            }
            total
        }
    }
}

proptest! {
    /// Compared with a map of who is there, and the state of it at the end of each round.
    #[test]
    fn whoever_applies_the_notices_in_their_order_has_the_list(steps in steps()) {
        let mut presence = Presence::default();
        let mut members: BTreeMap<ClientId, u64> = BTreeMap::new();
        let mut at_round_end = BTreeSet::new();
        let mut watchers: BTreeMap<ClientId, BTreeSet<ClientId>> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Join(n, order) => {
                    presence.joined(&client(n), order);
                    let held = members.entry(client(n)).or_insert(order);
                    *held = order.max(*held);
                }
                Step::Leave(n, order) => {
                    presence.left(&client(n), order);
                    if members.get(&client(n)) == Some(&order) {
                        members.remove(&client(n));
                    }
                }
                Step::Watch(n) => {
                    let list = presence.watch(&client(n));
                    prop_assert_eq!(list.total, members.len());
                    if watchers.is_empty() {
                        at_round_end = members.keys().cloned().collect();
                    }
                    watchers.insert(client(n), list.names.into_iter().collect());
                }
                Step::Unwatch(n) => {
                    presence.unwatch(&client(n));
                    watchers.remove(&client(n));
                }
                Step::EndRound => {
                    presence.end_round();
                    at_round_end = members.keys().cloned().collect();
                }
                Step::Hear(n) => {
                    if let Some((from, upto)) = presence.unheard(&client(n)) {
                        let news = presence.take(&client(n), from, upto);
                        let is_all = matches!(news, News::All(_));
                        let heard = watchers.get_mut(&client(n)).unwrap();
                        let total = apply(heard, news);
                        let expected = match is_all {
                            true => members.keys().cloned().collect(),
                            false => at_round_end.clone(),
                        };
                        prop_assert_eq!(&*heard, &expected);
                        prop_assert_eq!(total, expected.len());
                        prop_assert_eq!(presence.unheard(&client(n)), None);
                    }
                }
                Step::Forget => presence.forget_heard(),
                Step::Replace(now) => {
                    members = now.into_iter().map(|n| (client(n), 2)).collect();
                    presence.replace(members.clone());
                }
            }
            prop_assert!(presence.changes.len() <= MIN_KEPT);
            prop_assert_eq!(&presence.members, &members);
        }
        // Nobody is owed anything when all have heard of everything.
        presence.end_round();
        for (watcher, heard) in &mut watchers {
            if let Some((from, upto)) = presence.unheard(watcher) {
                apply(heard, presence.take(watcher, from, upto));
            }
            prop_assert!(heard.iter().eq(members.keys()));
        }
        presence.forget_heard();
        prop_assert!(presence.changes.is_empty());
    }

    /// A round begins with the first change after the end of the last one, and only then.
    #[test]
    fn a_round_begins_once(changes in prop::collection::vec((0..4_u8, any::<bool>(), any::<bool>()), 0..60)) {
        let mut presence = Presence::default();
        presence.watch(&client(9));
        let mut is_open = false;
        for (n, joins, ends) in changes {
            let before = presence.len();
            let begins = match joins {
                true => presence.joined(&client(n), 0),
                false => presence.left(&client(n), 0),
            };
            let changed = presence.len() != before;
            prop_assert_eq!(begins, changed && !is_open);
            is_open |= changed;
            if ends {
                presence.end_round();
                is_open = false;
            }
        }
    }
}

#[test]
fn a_list_has_the_first_thousand_names_and_counts_all() {
    let name = |n: u32| ClientId::new(&format!("{n:05}")).unwrap();
    let mut presence = Presence::new((0..2_500).rev().map(|n| (name(n), 0)));
    let list = presence.watch(&name(1));
    assert_eq!(list.total, 2_500);
    assert_eq!(list.names, (0..1_000).map(name).collect::<Vec<_>>());
}
