//! A resume over all topics, by `positions`.

use serde_json::{Value, json};

use super::{expect_event, expect_subscribed, publish, server_with, subscribe};
use crate::harness::{TestServer, epoch_of, seq_of};

fn position(server: &TestServer, topic: &str, seq: u64) -> Value {
    json!({"seq": seq, "epoch": epoch_of(&server.topic(topic))})
}

#[test]
fn every_topic_goes_on_behind_its_position_and_new_ones_from_the_beginning() {
    let server = server_with(&["a.known", "a.new"]);
    for topic in ["a.known", "a.known", "a.known", "a.new", "a.new"] {
        publish(&server, topic);
    }
    let positions = json!({"a.known": position(&server, "a.known", 1)});
    let mut client = server.ws();
    assert_eq!(
        subscribe(&mut client, "a.*", &json!({"positions": positions})),
        2
    );
    let known = client.next_info("subscribed");
    assert_eq!(
        (&known["topic"], seq_of(&known), &known["recovered"]),
        (&json!("a.known"), 3, &json!(true))
    );
    expect_event(&mut client, "a.known", 2);
    expect_event(&mut client, "a.known", 3);
    let new = client.next_info("subscribed");
    assert_eq!(
        (&new["topic"], seq_of(&new), &new["recovered"]),
        (&json!("a.new"), 2, &json!(true))
    );
    expect_event(&mut client, "a.new", 1);
    expect_event(&mut client, "a.new", 2);
}

#[test]
fn what_left_the_history_is_told_as_a_gap() {
    let server = TestServer::with(|config| config.history_size = 1);
    server.create_topic("a.known");
    server.create_topic("a.new");
    for topic in ["a.known", "a.new"] {
        (0..3).for_each(|_| publish(&server, topic));
    }
    let positions = json!({"a.known": position(&server, "a.known", 1)});
    let mut client = server.ws();
    subscribe(&mut client, "a.*", &json!({"positions": positions}));
    for (topic, from) in [("a.known", 2), ("a.new", 1)] {
        let notice = client.next_info("subscribed");
        assert_eq!(
            (&notice["topic"], &notice["recovered"]),
            (&json!(topic), &json!(false))
        );
        let gap = client.next_info("gap");
        let expected =
            json!({"from_seq": from, "to_seq": 2, "count": 3 - from, "reason": "history_evicted"});
        assert_eq!((&gap["topic"], &gap["gap"]), (&json!(topic), &expected));
        expect_event(&mut client, topic, 3);
    }
}

#[test]
fn topics_that_ended_or_began_again_are_told() {
    let server = server_with(&["a.gone", "a.again", "a.stays"]);
    publish(&server, "a.again");
    let positions: serde_json::Map<String, Value> = ["a.gone", "a.again", "a.stays"]
        .into_iter()
        .map(|topic| (topic.to_owned(), position(&server, topic, 0)))
        .collect();
    server.delete_topic("a.gone");
    server.delete_topic("a.again");
    server.create_topic("a.again");
    publish(&server, "a.again");
    let mut client = server.ws();
    assert_eq!(
        subscribe(&mut client, "a.*", &json!({"positions": positions})),
        2
    );
    let gone = client.next_info("topic_deleted");
    assert_eq!(
        (&gone["topic"], &gone["pattern"]),
        (&json!("a.gone"), &json!("a.*"))
    );
    let again = client.next_info("subscribed");
    assert_eq!(
        (&again["topic"], &again["recovered"]),
        (&json!("a.again"), &json!(false))
    );
    assert_eq!(
        client.next_info("gap")["gap"],
        json!({"reason": "epoch_changed"})
    );
    expect_event(&mut client, "a.again", 1);
    let stays = client.next_info("subscribed");
    assert_eq!(
        (&stays["topic"], &stays["recovered"]),
        (&json!("a.stays"), &json!(true))
    );
    assert_eq!(client.fence(), [json!(null); 0]);
}

#[test]
fn what_an_unsubscribe_tells_is_what_a_resume_needs() {
    let server = server_with(&["a1", "a2"]);
    let mut client = server.ws();
    subscribe(&mut client, "a*", &json!({}));
    expect_subscribed(&mut client, "a1", "a*");
    expect_subscribed(&mut client, "a2", "a*");
    publish(&server, "a1");
    expect_event(&mut client, "a1", 1);
    let positions = client.unsubscribe("a*", "c")["positions"].clone();
    publish(&server, "a1");
    server.create_topic("a3");
    publish(&server, "a3");
    subscribe(&mut client, "a*", &json!({"positions": positions}));
    expect_subscribed(&mut client, "a1", "a*");
    expect_event(&mut client, "a1", 2);
    expect_subscribed(&mut client, "a2", "a*");
    expect_subscribed(&mut client, "a3", "a*");
    expect_event(&mut client, "a3", 1);
}
