//! The account of a subscription: what it takes, and what it refuses.

use serde_json::{Value, json};

use crate::cluster::{Account, Published, compare};

const TS: &str = "2026-01-01T00:00:00.000000Z";

fn ack(epoch: &str, seq: u64) -> Value {
    json!({"type": "ack", "seq": seq, "epoch": epoch, "ts": TS})
}

fn resumed(epoch: &str, seq: u64, recovered: bool) -> Value {
    json!({"type": "ack", "seq": seq, "epoch": epoch, "recovered": recovered, "ts": TS})
}

fn event(seq: u64) -> Value {
    let message = json!({"id": format!("m{seq}"), "payload": 1});
    json!({"type": "event", "topic": "orders", "message": message, "seq": seq, "ts": TS})
}

fn gap(fields: &Value) -> Value {
    json!({"type": "info", "topic": "orders", "msg": "gap", "gap": fields, "ts": TS})
}

fn evicted(from: u64, to: u64) -> Value {
    let count = to - from + 1;
    gap(&json!({"from_seq": from, "to_seq": to, "count": count, "reason": "history_evicted"}))
}

fn live_epoch_change(epoch: &str, seq: u64) -> Value {
    let mut notice = gap(&json!({"reason": "epoch_changed"}));
    notice["epoch"] = json!(epoch);
    notice["seq"] = json!(seq);
    notice
}

/// A subscription that has received 1 to 3 of epoch `a`.
fn three_received() -> Account {
    let mut account = Account::from_ack("orders", &ack("a", 0));
    for seq in 1..=3 {
        assert_eq!(account.take(&event(seq)), Ok(()));
    }
    account
}

#[test]
fn a_hole_a_double_and_a_missing_end_are_found() {
    assert!(three_received().take(&event(5)).is_err());
    assert!(three_received().take(&event(3)).is_err());
    assert_eq!(three_received().check_complete("a", 3), Ok(()));
    assert!(three_received().check_complete("a", 4).is_err());
    assert!(three_received().check_complete("b", 3).is_err());
}

#[test]
fn a_gap_counts_as_received() {
    let mut account = three_received();
    assert_eq!(account.take(&evicted(4, 6)), Ok(()));
    assert_eq!(account.take(&event(7)), Ok(()));
    assert_eq!(account.check_complete("a", 7), Ok(()));
    assert_eq!((account.skipped, account.events.len()), (3, 4));
    assert!(account.take(&evicted(9, 9)).is_err());
}

#[test]
fn a_live_change_of_the_epoch_begins_behind_its_seq() {
    let mut account = three_received();
    assert_eq!(account.take(&live_epoch_change("b", 0)), Ok(()));
    assert_eq!(account.take(&event(1)), Ok(()));
    assert_eq!(account.check_complete("b", 1), Ok(()));
    assert_eq!(account.epoch_changes, 1);
}

#[test]
fn a_live_change_of_the_epoch_must_say_where_it_goes_on() {
    let mut bare = gap(&json!({"reason": "epoch_changed"}));
    assert!(three_received().take(&bare).is_err());
    bare["epoch"] = json!("b");
    assert!(three_received().take(&bare).is_err());
    assert!(three_received().take(&live_epoch_change("a", 0)).is_err());
    let mut account = three_received();
    assert_eq!(account.take(&live_epoch_change("b", 0)), Ok(()));
    assert!(account.take(&event(4)).is_err());
}

#[test]
fn a_resume_goes_on_where_it_was() {
    let mut account = three_received();
    assert_eq!(account.resume(&resumed("a", 5, true)), Ok(()));
    assert_eq!(account.take(&event(4)), Ok(()));
    assert!(three_received().resume(&resumed("b", 5, true)).is_err());
    assert!(three_received().resume(&resumed("a", 2, true)).is_err());
    assert!(three_received().resume(&ack("a", 5)).is_err());
}

#[test]
fn a_resume_that_missed_something_must_say_so_first() {
    let mut account = three_received();
    assert_eq!(account.resume(&resumed("a", 9, false)), Ok(()));
    assert!(account.take(&event(4)).is_err());
    let mut account = three_received();
    assert_eq!(account.resume(&resumed("a", 9, false)), Ok(()));
    assert_eq!(account.take(&evicted(4, 7)), Ok(()));
    assert_eq!(account.take(&event(8)), Ok(()));
}

#[test]
fn a_resume_in_another_epoch_replays_what_is_kept() {
    let mut account = three_received();
    assert_eq!(account.resume(&resumed("b", 9, false)), Ok(()));
    assert!(account.clone().take(&evicted(4, 7)).is_err());
    let change = gap(&json!({"reason": "epoch_changed"}));
    assert_eq!(account.take(&change), Ok(()));
    assert_eq!(account.position(), 0);
    assert!(account.check_complete("b", 9).is_err());
    assert!(account.clone().take(&event(11)).is_err());
    for seq in 8..=9 {
        assert_eq!(account.take(&event(seq)), Ok(()));
    }
    assert_eq!(account.check_complete("b", 9), Ok(()));
}

#[test]
fn nothing_may_follow_the_end() {
    let deleted = json!({"type": "info", "topic": "orders", "msg": "topic_deleted", "ts": TS});
    let mut account = three_received();
    assert_eq!(account.take(&deleted), Ok(()));
    assert!(account.clone().take(&event(4)).is_err());
    assert!(account.take(&deleted).is_err());
}

#[test]
fn the_notice_of_a_takeover_must_have_the_last_seq() {
    let mut replaced =
        json!({"type": "info", "topic": "orders", "msg": "subscription_replaced", "ts": TS});
    assert!(three_received().take(&replaced).is_err());
    replaced["seq"] = json!(2);
    assert!(three_received().take(&replaced).is_err());
    replaced["seq"] = json!(3);
    assert_eq!(three_received().take(&replaced), Ok(()));
}

/// A publisher that was acked for these messages of epoch `a`, and had no answer for others.
fn published(acked: &[(u64, &str)], unsure: &[&str]) -> Published {
    let place = |(seq, id): &(u64, &str)| (("a".to_owned(), *seq), (*id).to_owned());
    Published {
        acked: acked.iter().map(place).collect(),
        unsure: unsure.iter().map(|id| (*id).to_owned()).collect(),
        ..Published::default()
    }
}

#[test]
fn what_was_received_must_have_been_published() {
    let accounts = [three_received(), three_received()];
    let all = published(&[(1, "m1"), (2, "m2"), (3, "m3"), (4, "m4")], &[]);
    assert_eq!(compare(&[all], &accounts), Ok(()));
    let unsure = published(&[(1, "m1"), (3, "m3")], &["m2", "never taken"]);
    assert_eq!(compare(&[unsure], &accounts), Ok(()));
    let missing = published(&[(1, "m1"), (3, "m3")], &[]);
    assert!(compare(&[missing], &accounts).is_err());
    let another = published(&[(1, "m1"), (2, "other"), (3, "m3")], &["m2"]);
    assert!(compare(&[another], &accounts).is_err());
}

#[test]
fn a_place_belongs_to_one_message() {
    let first = published(&[(1, "m1"), (2, "m2"), (3, "m3")], &[]);
    let second = published(&[(3, "m4")], &[]);
    assert!(compare(&[first, second], &[]).is_err());
}

#[test]
fn a_message_that_comes_twice_in_two_places_is_found() {
    let mut account = three_received();
    let mut again = event(4);
    again["message"]["id"] = json!("m2");
    assert_eq!(account.take(&again), Ok(()));
    let unsure = published(&[], &["m1", "m2", "m3"]);
    assert!(compare(&[unsure], &[account]).is_err());
}

#[test]
fn subscribers_that_received_different_messages_in_one_place_are_found() {
    let mut accounts = [three_received(), three_received()];
    let mut other = event(4);
    other["message"]["id"] = json!("m5");
    assert_eq!(accounts[0].take(&event(4)), Ok(()));
    assert_eq!(accounts[1].take(&other), Ok(()));
    let unsure = published(&[], &["m1", "m2", "m3", "m4", "m5"]);
    assert!(compare(&[unsure], &accounts).is_err());
}
