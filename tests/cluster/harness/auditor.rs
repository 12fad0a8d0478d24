//! Compares what was acked to publishers with what subscribers received: one message for each place, the same for all, once.

use std::collections::{BTreeMap, HashSet};

use super::{Account, Follower, Published};

/// Asserts that every subscriber of a topic received what its publishers were acked, and nothing else.
///
/// That nothing is missing is shown by the accounts themselves: they have no hole.
#[track_caller]
pub(crate) fn audit(published: &[Published], followers: &[Follower]) {
    let accounts: Vec<_> = followers.iter().map(Follower::account).collect();
    compare(published, &accounts).unwrap_or_else(|error| panic!("{error}"));
}

/// What is wrong with the accounts, if anything.
pub(crate) fn compare(published: &[Published], accounts: &[Account]) -> Result<(), String> {
    let places = places_of(published)?;
    let unsure: HashSet<&str> = published.iter().flat_map(maybe_taken).collect();
    for account in accounts {
        check(account, &places, &unsure)?;
    }
    check_alike(accounts)
}

type Places<'p> = BTreeMap<(&'p str, u64), &'p str>;

/// The acked message of each place.
fn places_of(published: &[Published]) -> Result<Places<'_>, String> {
    let mut places = Places::new();
    for ((epoch, seq), id) in published.iter().flat_map(|one| &one.acked) {
        if let Some(other) = places.insert((epoch, *seq), id) {
            return Err(format!("{seq} of {epoch} was acked for {other} and {id}"));
        }
    }
    Ok(places)
}

fn maybe_taken(published: &Published) -> impl Iterator<Item = &str> {
    published.unsure.iter().map(String::as_str)
}

fn check(account: &Account, places: &Places<'_>, unsure: &HashSet<&str>) -> Result<(), String> {
    let mut seen = HashSet::new();
    for event in &account.events {
        if !seen.insert(event.id.as_str()) {
            return Err(format!("received twice: {event:?}"));
        }
        match places.get(&(&*event.epoch, event.seq)) {
            Some(id) if *id == event.id => {}
            Some(id) => return Err(format!("{event:?} instead of {id}, which was acked")),
            None if unsure.contains(event.id.as_str()) => {}
            None => return Err(format!("{event:?} was not acked with this place")),
        }
    }
    Ok(())
}

/// No two subscribers may have received different messages in one place.
fn check_alike(accounts: &[Account]) -> Result<(), String> {
    let mut places = BTreeMap::new();
    for event in accounts.iter().flat_map(|account| &account.events) {
        let place = (&*event.epoch, event.seq);
        let first = *places.entry(place).or_insert(event);
        if first != event {
            return Err(format!("one received {first:?}, another {event:?}"));
        }
    }
    Ok(())
}
