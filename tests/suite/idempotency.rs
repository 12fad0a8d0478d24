//! Idempotent publishes: a message whose id the topic remembers is not published again, over WebSocket and REST.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    OverflowPolicy, TestServer, WsClient, await_stable, code_of, epoch_of, eventually, seq_of,
    uuid_of,
};

const ID: &str = "550e8400-e29b-41d4-a716-446655440000";
/// As many ids as a topic remembers.
const MAX_IDS: u64 = 10_000;

fn publish(id: &str, payload: &Value) -> Value {
    json!({"type": "publish", "topic": "orders", "message": {"id": id, "payload": payload},
           "idempotent": true})
}

/// Publishes, and returns the seq and whether it is that of an earlier message.
fn once(client: &mut WsClient, id: &str) -> (u64, bool) {
    outcome(&client.ask(publish(id, &json!("once"))))
}

fn outcome(ack: &Value) -> (u64, bool) {
    assert_eq!(ack["status"], "ok", "{ack}");
    let duplicate = ack.get("duplicate");
    assert!(duplicate.is_none_or(|duplicate| duplicate == true), "{ack}");
    (seq_of(ack), duplicate.is_some())
}

fn messages(server: &TestServer) -> u64 {
    server.topic("orders")["messages"].as_u64().unwrap()
}

#[test]
fn duplicate_is_acked_with_the_first_and_reaches_nobody() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    client.subscribe("orders", "c");
    let first = client.ask(publish(ID, &json!(1)));
    assert_eq!(outcome(&first), (1, false));
    client.publish("orders", &json!("between"));
    // The payload is not compared.
    let again = client.ask(publish(ID, &json!({"another": "payload"})));
    assert_eq!(outcome(&again), (1, true));
    assert_eq!(
        (&again["ts"], &again["epoch"]),
        (&first["ts"], &first["epoch"])
    );
    let events = client.next_events(2);
    assert_eq!(
        (&events[0]["message"]["payload"], seq_of(&events[1])),
        (&json!(1), 2)
    );
    assert_eq!(events[0]["ts"], first["ts"]);
    assert_eq!(client.fence(), Vec::<Value>::new());
    assert_eq!(messages(&server), 2);
}

#[test]
fn ids_are_compared_as_uuids_over_websocket_and_rest() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    assert_eq!(once(&mut client, ID), (1, false));
    for id in [
        ID.to_uppercase(),
        ID.replace('-', ""),
        format!("{{{ID}}}"),
        format!("urn:uuid:{}", ID.to_uppercase()),
    ] {
        assert_eq!(once(&mut client, &id), (1, true), "{id}");
        let body = json!({"id": id, "payload": 1, "idempotent": true});
        let answer = server
            .http()
            .post("/topics/orders/messages", &body)
            .expect(200);
        assert_eq!(outcome(&answer), (1, true), "{id}");
        assert_eq!(answer["id"], json!(id), "as it was given");
    }
    assert_eq!(once(&mut client, &uuid_of(1)), (2, false));
}

#[test]
fn duplicate_over_rest_is_answered_200_and_a_first_one_201() {
    let server = TestServer::with_topic("orders");
    let body = json!({"id": ID, "payload": 1, "idempotent": true});
    let publish = || server.http().post("/topics/orders/messages", &body);
    let first = publish().expect(201);
    assert_eq!(outcome(&first), (1, false));
    let mut expected = first;
    expected["duplicate"] = json!(true);
    assert_eq!(publish().expect(200), expected);
    assert_eq!(once(&mut server.ws(), ID), (1, true));
    for no_id in [
        json!({"payload": 1, "idempotent": true}),
        json!({"id": null, "payload": 1, "idempotent": true}),
    ] {
        let refused = server.http().post("/topics/orders/messages", &no_id);
        let detail = refused.expect_problem(422, "VALIDATION_ERROR");
        assert_eq!(detail, "id is required with idempotent");
    }
    assert_eq!(messages(&server), 1);
}

#[test]
fn without_the_field_nothing_is_remembered_and_nothing_compared() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    let plain = |field: &Value| {
        let mut request = publish(ID, &json!(1));
        request["idempotent"] = field.clone();
        request
    };
    let mut absent = publish(ID, &json!(1));
    absent.as_object_mut().unwrap().remove("idempotent");
    let unmarked = [absent, plain(&json!(false)), plain(&Value::Null)];
    for (seq, request) in (1..).zip(&unmarked) {
        assert_eq!(outcome(&client.ask(request.clone())), (seq, false));
    }
    assert_eq!(once(&mut client, ID), (4, false), "those are not known");
    for (seq, request) in (5..).zip(&unmarked) {
        assert_eq!(outcome(&client.ask(request.clone())), (seq, false));
    }
    assert_eq!(once(&mut client, ID), (4, true));
}

#[test]
fn field_that_is_no_boolean_is_refused() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    for wrong in [json!(1), json!("true"), json!([]), json!({})] {
        let mut request = publish(ID, &json!(1));
        request["idempotent"] = wrong.clone();
        let error = client.ask_refused(request, "BAD_REQUEST");
        assert_eq!(
            error["error"]["message"],
            "idempotent must be true or false"
        );
        let body = json!({"id": ID, "payload": 1, "idempotent": wrong});
        let refused = server.http().post("/topics/orders/messages", &body);
        let detail = refused.expect_problem(422, "VALIDATION_ERROR");
        assert_eq!(detail, "idempotent must be true or false");
    }
    let twice = format!(
        r#"{{"type":"publish","topic":"orders","message":{{"id":"{ID}","payload":1}},"idempotent":true,"idempotent":true,"request_id":"r"}}"#
    );
    client.send_text(&twice);
    assert_eq!(code_of(&client.expect_reply("r")), "BAD_REQUEST");
    // For other requests it has no meaning, as any field that a request does not need.
    client.subscribe_with("orders", "c", &json!({"idempotent": 5}));
    assert_eq!(messages(&server), 0);
}

#[test]
fn window_counts_from_the_first_and_a_duplicate_does_not_extend_it() {
    let server = TestServer::with(|config| config.idempotency_window = Duration::from_secs(2));
    server.create_topic("orders");
    let mut client = server.ws();
    assert_eq!(once(&mut client, ID), (1, false));
    let mut duplicates = 0;
    eventually(
        "the window passes, however often it is published again",
        || {
            let (seq, duplicate) = once(&mut client, ID);
            duplicates += u64::from(duplicate);
            assert_eq!(seq, if duplicate { 1 } else { 2 });
            !duplicate
        },
    );
    assert!(duplicates > 0, "none within the window");
    assert_eq!(once(&mut client, ID), (2, true), "a new window");
    server.await_metric("pubsub_messages_duplicate_total", duplicates + 1);
}

#[test]
fn topic_created_again_remembers_nothing() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    client.ask(publish(ID, &json!(1)));
    server.delete_topic("orders");
    client.ask_refused(publish(ID, &json!(1)), "TOPIC_NOT_FOUND");
    server.create_topic("orders");
    let ack = client.ask(publish(ID, &json!(1)));
    assert_eq!(outcome(&ack), (1, false));
    assert_eq!(epoch_of(&client.subscribe("orders", "c")), epoch_of(&ack));
}

#[test]
fn each_topic_remembers_its_own_ids() {
    let server = TestServer::with_topic("orders");
    server.create_topic("payments");
    let mut client = server.ws();
    assert_eq!(once(&mut client, ID), (1, false));
    let mut other = publish(ID, &json!(1));
    other["topic"] = json!("payments");
    assert_eq!(outcome(&client.ask(other.clone())), (1, false));
    assert_eq!(outcome(&client.ask(other)), (1, true));
}

/// Publishes idempotent messages with these ids, a hundred in flight; returns the outcomes.
fn publish_range(client: &mut WsClient, ids: impl Iterator<Item = u64>) -> Vec<(u64, bool)> {
    let mut outcomes = Vec::new();
    let ids: Vec<u64> = ids.collect();
    for chunk in ids.chunks(100) {
        let texts = chunk.iter().map(|n| {
            let mut request = publish(&uuid_of(*n), &json!(n));
            request["request_id"] = json!(format!("n{n}"));
            request.to_string()
        });
        client.send_texts(&texts.collect::<Vec<_>>());
        for n in chunk {
            outcomes.push(outcome(&client.expect_ack(&format!("n{n}"))));
        }
    }
    outcomes
}

#[test]
fn newest_ten_thousand_ids_are_remembered() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    let all = MAX_IDS + 1;
    let published = publish_range(&mut client, 1..=all);
    assert!(
        published
            .iter()
            .zip(1..)
            .all(|(one, seq)| *one == (seq, false))
    );
    let again = publish_range(&mut client, [2, all].into_iter());
    assert_eq!(again, [(2, true), (all, true)]);
    // This is the oldest one's place then.
    assert_eq!(once(&mut client, &uuid_of(1)), (all + 1, false));
    assert_eq!(once(&mut client, &uuid_of(2)), (all + 2, false));
    assert_eq!(once(&mut client, &uuid_of(4)), (4, true));
}

#[test]
fn memory_of_remembered_ids_is_bounded_counted_and_freed_after_the_window() {
    const WINDOW: Duration = Duration::from_secs(3);
    // What the log of one event holds varies.
    const OF_ANOTHER_EVENT: u64 = 20 << 10;
    let server = TestServer::with(|config| {
        config.idempotency_window = WINDOW;
        // The topic waits in the expiry queue already, for much later.
        config.topic_idle = Duration::from_secs(3_600);
        (config.history_size, config.max_queue_size) = (1, 1);
    });
    server.create_topic("orders");
    let memory = || server.metrics().count("pubsub_memory_bytes");
    let mut client = server.ws();
    client.publish_many("orders", 1, 2_000);
    let without = memory();
    let mut most = 0;
    for chunk in 0..12 {
        publish_range(&mut client, chunk * 2_000..(chunk + 1) * 2_000);
        most = most.max(memory());
    }
    let of_ids = most - without;
    println!("{of_ids} bytes of ids");
    assert!((100_000..1_200_000).contains(&of_ids), "{of_ids} bytes");
    eventually("nobody publishes, and their memory is freed", || {
        memory() < without + OF_ANOTHER_EVENT
    });
    publish_range(&mut client, 0..2_000);
    assert!(memory() > without + OF_ANOTHER_EVENT);
    server.delete_topic("orders");
    assert_eq!(memory(), 0, "of a deleted topic");
}

#[test]
fn ids_count_towards_the_memory_limit_and_the_oldest_go_after_the_events() {
    const MAX_MEMORY: usize = 256 << 10;
    let server = TestServer::with(|config| config.max_memory_bytes = MAX_MEMORY);
    server.create_topic("orders");
    let mut client = server.ws();
    let count = 8_000;
    publish_range(&mut client, 1..=count);
    let memory = server.metrics().count("pubsub_memory_bytes");
    assert!(memory <= MAX_MEMORY as u64, "{memory} bytes");
    let again = publish_range(&mut client, [1, count].into_iter());
    assert_eq!(
        again,
        [(count + 1, false), (count, true)],
        "the oldest and the newest"
    );
}

#[test]
fn duplicate_beside_a_full_queue_under_block_does_not_wait() {
    let server = TestServer::with(|config| {
        config.overflow = OverflowPolicy::Block;
        (config.max_queue_size, config.send_buffer_bytes) = (1, 4 << 10);
        // No wait ends by it.
        config.block_timeout = Duration::from_secs(60);
    });
    server.create_topic("orders");
    assert_eq!(once(&mut server.ws(), ID), (1, false));
    let slow = server.small_buffer_subscriber("orders", "slow");
    let mut waiting = server.ws();
    let pad = "x".repeat(4 << 10);
    let texts = (1..=100).map(|n| publish(&uuid_of(n), &json!(pad)).to_string());
    waiting.send_texts(&texts.collect::<Vec<_>>());
    let published = await_stable(Duration::from_millis(300), || messages(&server));
    assert!(published < 101, "nothing waits");
    assert_eq!(once(&mut server.ws(), ID), (1, true));
    let body = json!({"id": ID, "payload": 1, "idempotent": true});
    let answer = server
        .http()
        .post("/topics/orders/messages", &body)
        .expect(200);
    assert_eq!(outcome(&answer), (1, true));
    assert_eq!(messages(&server), published);
    drop(slow);
    eventually("those that waited are published", || {
        messages(&server) == 101
    });
}

#[test]
fn of_equal_messages_at_the_same_time_one_is_published() {
    const PUBLISHERS: u64 = 4;
    const MESSAGES: u64 = 200;
    let server = TestServer::with_topic("orders");
    let all: Vec<Vec<(u64, bool)>> = thread::scope(|scope| {
        let publish = || publish_range(&mut server.ws(), 0..MESSAGES);
        let threads: Vec<_> = (0..PUBLISHERS).map(|_| scope.spawn(publish)).collect();
        threads.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(messages(&server), MESSAGES);
    for n in 0..MESSAGES as usize {
        let seqs: HashSet<u64> = all.iter().map(|outcomes| outcomes[n].0).collect();
        let firsts = all.iter().filter(|outcomes| !outcomes[n].1).count();
        assert_eq!((seqs.len(), firsts), (1, 1), "message {n}");
    }
}

#[test]
fn equal_messages_in_one_write_are_published_once() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    client.subscribe("orders", "c");
    let request = |id: &str, request_id: String| {
        let mut request = publish(id, &json!(id));
        request["request_id"] = json!(request_id);
        request.to_string()
    };
    let ids = [uuid_of(1), uuid_of(2), uuid_of(1), uuid_of(3), uuid_of(2)];
    let texts: Vec<String> = (0..)
        .zip(&ids)
        .map(|(at, id)| request(id, format!("r{at}")))
        .collect();
    client.send_texts(&texts);
    let acks: Vec<_> = (0..ids.len())
        .map(|at| outcome(&client.expect_ack(&format!("r{at}"))))
        .collect();
    assert_eq!(
        acks,
        [(1, false), (2, false), (1, true), (3, false), (2, true)]
    );
    let events = client.next_events(3);
    let payloads: Vec<_> = events
        .iter()
        .map(|event| &event["message"]["payload"])
        .collect();
    assert_eq!(payloads, [&ids[0], &ids[1], &ids[3]]);
    assert_eq!(client.fence(), Vec::<Value>::new());
}
