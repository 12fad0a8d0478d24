//! Resuming after a position: no event is repeated or lost, and events no longer kept are reported as a gap.

use serde_json::{Value, json};

use crate::harness::{SequenceChecker, TestServer, WsClient, epoch_of, event_seqs, seq_of};

/// Resumes on a new connection and returns it with the ack.
fn resume(server: &TestServer, topic: &str, fields: &Value) -> (WsClient, Value) {
    let mut client = server.ws();
    let ack = client.subscribe_with(topic, "c", fields);
    (client, ack)
}

fn epoch(server: &TestServer, topic: &str) -> String {
    epoch_of(&server.topic(topic)).to_owned()
}

#[test]
fn resume_after_a_reset_gets_exactly_the_missed_events() {
    let server = TestServer::with_topic("orders");
    let (mut publisher, mut client) = (server.ws(), server.ws());
    let epoch = epoch_of(&client.subscribe("orders", "c")).to_owned();
    let mut checker = SequenceChecker::starting_after("orders", 0);
    publisher.publish_many("orders", 1, 5);
    checker.read_until(&mut client, 5);
    client.reset();
    publisher.publish_many("orders", 6, 30);
    let (mut client, ack) = resume(&server, "orders", &json!({"after_seq": 5, "epoch": epoch}));
    assert_eq!(ack["recovered"], true);
    assert_eq!(seq_of(&ack), 30);
    publisher.publish_many("orders", 31, 35);
    checker.read_until(&mut client, 35);
    assert_eq!(checker.skipped, 0);
}

#[test]
fn repeated_resumes_during_publishing_lose_nothing() {
    let server = TestServer::with(|config| {
        config.history_size = 1000;
        config.max_queue_size = 1000;
    });
    server.create_topic("orders");
    std::thread::scope(|scope| {
        scope.spawn(|| server.ws().publish_many("orders", 1, 300));
        let mut checker = SequenceChecker::starting_after("orders", 0);
        while checker.last() < 300 {
            let (mut client, ack) =
                resume(&server, "orders", &json!({"after_seq": checker.last()}));
            assert_eq!(ack["recovered"], true);
            let end = 300.min(checker.last() + 20);
            checker.read_until(&mut client, end);
            client.reset();
        }
        assert_eq!((checker.received, checker.skipped), (300, 0));
    });
}

#[test]
fn resume_at_the_newest_position_gets_live_events_only() {
    let server = TestServer::with_topic("orders");
    let mut publisher = server.ws();
    publisher.publish_many("orders", 1, 4);
    let (mut client, ack) = resume(&server, "orders", &json!({"after_seq": 4}));
    assert_eq!(ack["recovered"], true);
    publisher.publish("orders", &json!(5));
    assert_eq!(event_seqs(&client.fence()), [5]);
}

#[test]
fn resume_after_eviction_reports_the_gap_and_replays_the_rest() {
    let server = TestServer::with(|config| config.history_size = 5);
    server.create_topic("orders");
    server.ws().publish_many("orders", 1, 12);
    let fields = json!({"after_seq": 2, "epoch": epoch(&server, "orders")});
    let (mut client, ack) = resume(&server, "orders", &fields);
    assert_eq!(ack["recovered"], false);
    let notice = client.next_info("gap");
    let gap = json!({"from_seq": 3, "to_seq": 7, "count": 5, "reason": "history_evicted"});
    assert_eq!(notice["gap"], gap);
    assert_eq!(notice["topic"], "orders");
    assert_eq!(event_seqs(&client.fence()), [8, 9, 10, 11, 12]);
}

#[test]
fn resume_without_history_reports_all_missed_events_as_a_gap() {
    let server = TestServer::with(|config| config.history_size = 0);
    server.create_topic("orders");
    let mut publisher = server.ws();
    publisher.publish_many("orders", 1, 3);
    let (mut client, ack) = resume(&server, "orders", &json!({"after_seq": 1}));
    assert_eq!(ack["recovered"], false);
    publisher.publish("orders", &json!(4));
    let mut checker = SequenceChecker::starting_after("orders", 1);
    checker.read_until(&mut client, 4);
    assert_eq!((checker.skipped, checker.received), (2, 1));
}

#[test]
fn resume_with_a_foreign_epoch_reports_it_and_replays_the_history() {
    let server = TestServer::with(|config| config.history_size = 3);
    server.create_topic("orders");
    server.ws().publish_many("orders", 1, 5);
    for position in [0, 4, 5, 1000] {
        let fields = json!({"after_seq": position, "epoch": "another"});
        let (mut client, ack) = resume(&server, "orders", &fields);
        assert_eq!(ack["recovered"], false);
        assert_eq!(
            client.next_info("gap")["gap"],
            json!({"reason": "epoch_changed"})
        );
        assert_eq!(event_seqs(&client.fence()), [3, 4, 5]);
    }
}

#[test]
fn resume_after_delete_and_recreate_reports_epoch_changed() {
    let server = TestServer::with_topic("orders");
    let mut publisher = server.ws();
    publisher.publish_many("orders", 1, 9);
    let old = epoch(&server, "orders");
    server.delete_topic("orders");
    server.create_topic("orders");
    assert_ne!(epoch(&server, "orders"), old);
    assert_eq!(publisher.publish("orders", &json!("first")), 1);
    let (mut client, ack) = resume(&server, "orders", &json!({"after_seq": 9, "epoch": old}));
    assert_eq!(ack["recovered"], false);
    assert_eq!(client.next_info("gap")["gap"]["reason"], "epoch_changed");
    assert_eq!(event_seqs(&client.fence()), [1]);
}

#[test]
fn resume_after_restart_reports_epoch_changed() {
    let server = TestServer::with_topic("orders");
    server.ws().publish_many("orders", 1, 9);
    let old = epoch(&server, "orders");
    server.shutdown();
    let server = TestServer::with_topic("orders");
    let (mut client, ack) = resume(&server, "orders", &json!({"after_seq": 9, "epoch": old}));
    assert_eq!(ack["recovered"], false);
    assert_eq!(client.next_info("gap")["gap"]["reason"], "epoch_changed");
    server.ws().publish("orders", &json!(1));
    assert_eq!(event_seqs(&client.fence()), [1]);
}

#[test]
fn position_ahead_of_the_topic_is_refused() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    client.publish_many("orders", 1, 3);
    client.subscribe_refused("orders", &json!({"after_seq": 4}), "BAD_REQUEST");
    let fields = json!({"after_seq": 4, "epoch": epoch(&server, "orders")});
    client.subscribe_refused("orders", &fields, "BAD_REQUEST");
    assert_eq!(server.topic("orders")["subscribers"], 0);
}

#[test]
fn epoch_without_a_position_is_refused() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    client.subscribe_refused("orders", &json!({"epoch": "any"}), "BAD_REQUEST");
    let fields = json!({"epoch": epoch(&server, "orders"), "last_n": 3});
    client.subscribe_refused("orders", &fields, "BAD_REQUEST");
}

#[test]
fn position_together_with_last_n_is_refused() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    client.publish_many("orders", 1, 3);
    client.subscribe_refused(
        "orders",
        &json!({"after_seq": 1, "last_n": 1}),
        "BAD_REQUEST",
    );
    let ack = client.subscribe_with("orders", "c", &json!({"after_seq": 1, "last_n": 0}));
    assert_eq!(ack["recovered"], true);
    assert_eq!(event_seqs(&client.fence()), [2, 3]);
}

#[test]
fn positions_and_epochs_of_the_wrong_type_are_refused() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    for after_seq in [json!(-1), json!(0.5), json!("0"), json!([0])] {
        client.subscribe_refused("orders", &json!({"after_seq": after_seq}), "BAD_REQUEST");
    }
    client.subscribe_refused(
        "orders",
        &json!({"after_seq": 0, "epoch": 5}),
        "BAD_REQUEST",
    );
}

#[test]
fn resume_at_the_seq_of_the_unsubscribe_ack_loses_nothing() {
    let server = TestServer::with_topic("orders");
    let (mut publisher, mut client) = (server.ws(), server.ws());
    client.subscribe("orders", "c");
    publisher.publish_many("orders", 1, 5);
    let end = seq_of(&client.unsubscribe("orders", "c"));
    let mut checker = SequenceChecker::starting_after("orders", 0);
    checker.read_until(&mut client, end);
    publisher.publish_many("orders", 6, 9);
    client.subscribe_with("orders", "c", &json!({"after_seq": end}));
    checker.read_until(&mut client, 9);
}

#[test]
fn only_a_resume_ack_has_recovered() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    let ack = client.subscribe_with("orders", "c", &json!({"last_n": 3}));
    assert_eq!(ack.get("recovered"), None);
    let ack = client.subscribe_with("orders", "c", &json!({"after_seq": null, "epoch": null}));
    assert_eq!(ack.get("recovered"), None, "null counts as absent");
}
