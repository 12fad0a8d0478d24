//! `PATCH /topics/{name}`: settings that change while a topic is in use.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    SequenceChecker, TestServer, TextFile, code_of, entry, event_seqs, eventually, publish_text,
};

const PATH: &str = "/topics/orders";

fn change(server: &TestServer, change: &Value) -> Value {
    server.http().patch(PATH, change).expect(200)
}

#[test]
fn a_change_is_answered_as_get_does_and_leaves_the_rest() {
    let server = TestServer::with_topic("orders");
    let before = server.topic("orders");
    assert_eq!(change(&server, &json!({})), before);
    let changed = change(&server, &json!({"history_size": 5, "idle_secs": 3600.5}));
    assert_eq!(changed, server.topic("orders"));
    let limits = json!({"history_size": 5, "history_bytes": 8_388_608, "max_queue_size": 100,
                        "history_ttl_secs": 0, "idle_secs": 3600.5});
    assert_eq!(changed["limits"], limits);
    assert_eq!(changed["epoch"], before["epoch"], "the topic is the same");
    let all = json!({"history_size": 0, "max_queue_size": 7, "overflow": "disconnect",
                     "history_ttl_secs": 60, "idle_secs": 0, "unknown": [1]});
    let changed = change(&server, &all);
    let limits = json!({"history_size": 0, "history_bytes": 8_388_608, "max_queue_size": 7,
                        "history_ttl_secs": 60, "idle_secs": 0});
    assert_eq!(
        (&changed["limits"], &changed["overflow"]),
        (&limits, &json!("disconnect"))
    );
}

#[test]
fn a_wrong_change_changes_nothing() {
    let server = TestServer::with_topic("orders");
    let before = server.topic("orders");
    let mut http = server.http();
    for (body, detail) in [
        (json!({"name": "orders"}), "name cannot be changed"),
        (
            json!({"history_size": 5, "max_queue_size": 0}),
            "max_queue_size must be an integer from 1 to 1000000",
        ),
        (
            json!({"history_size": 5, "idle_secs": -1}),
            "idle_secs must be a number of seconds from 0 to 315360000",
        ),
        (
            json!({"history_size": 5, "overflow": "x"}),
            "overflow must be drop_oldest, disconnect or block",
        ),
        (json!([]), "body: not a JSON object"),
    ] {
        let refused = http.patch(PATH, &body);
        assert_eq!(refused.expect_problem(422, "VALIDATION_ERROR"), detail);
    }
    assert_eq!(server.topic("orders"), before);
    let missing = http.patch("/topics/other", &json!({}));
    let detail = missing.expect_problem(404, "TOPIC_NOT_FOUND");
    assert_eq!(detail, "Topic 'other' not found");
    let no_name = http.patch("/topics/a%2Fb", &json!({}));
    no_name.expect_problem(404, "TOPIC_NOT_FOUND");
    let no_topic = http.patch("/topics", &json!({}));
    no_topic.expect_problem(405, "METHOD_NOT_ALLOWED");
}

#[test]
fn a_change_needs_the_right_to_administer() {
    let keys = [
        entry("all", "admin-secret", "admin = true"),
        entry("reader", "reader-secret", r#"subscribe = ["*"]"#),
    ];
    let keys = TextFile::new(&keys.concat());
    let server = TestServer::with(|config| config.keys_file = Some(keys.path().to_owned()));
    let options = threadcast::TopicOptions::default();
    let embedded = server.embedded();
    embedded.create_topic("orders", &options).expect("new");
    let ask = |secret: &str| {
        let fields = [("Authorization", secret)];
        server.http().request("PATCH", PATH, &fields, "{}").status
    };
    assert_eq!(ask("Bearer reader-secret"), 403);
    assert_eq!(ask("Bearer wrong"), 401);
    assert_eq!(ask("Bearer admin-secret"), 200);
}

#[test]
fn a_smaller_history_acts_at_once_and_a_larger_one_keeps_more_from_now_on() {
    let server = TestServer::with(|config| config.max_queue_size = 1);
    server.create_topic("orders");
    let mut publisher = server.ws();
    publisher.publish_many("orders", 1, 50);
    assert_eq!(
        change(&server, &json!({"history_size": 5}))["history"]["count"],
        5
    );
    let mut client = server.ws();
    let ack = client.subscribe_with("orders", "c", &json!({"after_seq": 40}));
    assert_eq!(ack["recovered"], false);
    let gap = json!({"from_seq": 41, "to_seq": 45, "count": 5, "reason": "history_evicted"});
    assert_eq!(client.next_info("gap")["gap"], gap);
    assert_eq!(event_seqs(&client.next_events(5)), [46, 47, 48, 49, 50]);
    change(&server, &json!({"history_size": 10}));
    publisher.publish_many("orders", 51, 70);
    let page = server.http().get("/topics/orders/messages").expect(200);
    let seqs = event_seqs(page["events"].as_array().unwrap());
    assert_eq!(seqs, (61..=70).collect::<Vec<_>>());
}

#[test]
fn a_smaller_queue_skips_what_no_longer_fits_and_reports_it() {
    let server = TestServer::with(|config| {
        config.max_queue_size = 1_000;
        config.history_size = 0;
    });
    server.create_topic("orders");
    let mut slow = server.small_buffer_subscriber("orders", "slow");
    server.ws().publish_padded("orders", 1, 400, 20 << 10);
    change(&server, &json!({"max_queue_size": 10}));
    let mut checker = SequenceChecker::starting_after("orders", 0);
    checker.read_until(&mut slow, 400);
    assert_eq!(checker.received + checker.skipped, 400);
    // At most one chunk was on its way, besides what the kernel had taken.
    assert!(checker.skipped > 300, "{checker:?}");
    assert_eq!(server.topic("orders")["dropped"], checker.skipped);
}

#[test]
fn a_change_to_disconnect_ends_those_that_are_too_slow() {
    let server = TestServer::with(|config| config.max_queue_size = 1_000);
    server.create_topic("orders");
    let mut slow = server.small_buffer_subscriber("orders", "slow");
    server.ws().publish_padded("orders", 1, 400, 20 << 10);
    let changed = json!({"max_queue_size": 10, "overflow": "disconnect"});
    assert_eq!(change(&server, &changed)["overflow"], "disconnect");
    server.await_subscribers("orders", 0);
    assert_eq!(slow.last_error_before_close(4100), "SLOW_CONSUMER");
}

#[test]
fn a_change_to_block_makes_publishers_wait_from_now_on_and_a_change_back_frees_them() {
    let server = TestServer::with(|config| {
        config.max_queue_size = 50;
        config.history_size = 0;
        config.block_timeout = Duration::from_secs(600);
    });
    server.create_topic("orders");
    let mut slow = server.small_buffer_subscriber("orders", "slow");
    let options = json!({"overflow": "block"});
    assert_eq!(change(&server, &options)["overflow"], "block");
    thread::scope(|scope| {
        let publisher = scope.spawn(|| server.ws().publish_padded("orders", 1, 400, 20 << 10));
        let seq = || server.topic("orders")["seq"].as_u64();
        let waits = crate::harness::await_stable(Duration::from_millis(300), seq);
        assert!(waits < Some(400), "nobody waits");
        change(&server, &json!({"overflow": "drop_oldest"}));
        publisher.join().unwrap();
    });
    let mut checker = SequenceChecker::starting_after("orders", 0);
    checker.read_until(&mut slow, 400);
    assert_eq!(checker.received + checker.skipped, 400);
    assert!(checker.skipped > 0);
}

#[test]
fn under_block_a_smaller_queue_drops_nothing() {
    let server = TestServer::with(|config| {
        config.max_queue_size = 200;
        config.history_size = 0;
        config.overflow = crate::harness::OverflowPolicy::Block;
        config.block_timeout = Duration::from_secs(600);
    });
    server.create_topic("orders");
    let mut slow = server.small_buffer_subscriber("orders", "slow");
    thread::scope(|scope| {
        scope.spawn(|| server.ws().publish_padded("orders", 1, 300, 20 << 10));
        eventually("some wait", || {
            server.topic("orders")["seq"].as_u64() > Some(100)
        });
        change(&server, &json!({"max_queue_size": 5}));
        let mut checker = SequenceChecker::starting_after("orders", 0);
        checker.read_until(&mut slow, 300);
        assert_eq!((checker.received, checker.skipped), (300, 0));
    });
}

#[test]
fn a_shorter_time_to_live_acts_at_once_and_what_has_expired_stays_so() {
    let server = TestServer::with_topic("orders");
    server.ws().publish_many("orders", 1, 10);
    let count = |server: &TestServer| server.topic("orders")["history"]["count"].clone();
    change(&server, &json!({"history_ttl_secs": 3600}));
    assert_eq!(count(&server), 10);
    change(&server, &json!({"history_ttl_secs": 0.000_001}));
    assert_eq!(count(&server), 0);
    change(&server, &json!({"history_ttl_secs": 0}));
    assert_eq!(count(&server), 0);
    server.ws().publish("orders", &json!(1));
    assert_eq!(count(&server), 1);
}

#[test]
fn an_idle_time_can_be_given_and_taken_back() {
    let server = TestServer::with_topic("orders");
    server.create_topic("other");
    server
        .http()
        .patch("/topics/other", &json!({"idle_secs": 3600}))
        .expect(200);
    change(&server, &json!({"idle_secs": 0.2}));
    eventually("the topic is gone", || {
        server.http().get(PATH).status == 404
    });
    server.create_topic("orders");
    change(&server, &json!({"idle_secs": 3600}));
    change(&server, &json!({"idle_secs": 0}));
    let shorter = json!({"idle_secs": 0.2});
    server.http().patch("/topics/other", &shorter).expect(200);
    eventually("the other is gone", || {
        server.http().get("/topics/other").status == 404
    });
    server.topic("orders");
}

#[test]
fn a_program_changes_the_topics_of_its_server() {
    use threadcast::{ChangeTopicError, TopicOptions};

    let server = TestServer::with_topic("orders");
    let embedded = server.embedded();
    let options = TopicOptions {
        history_size: Some(3),
        history_ttl: Some(Duration::from_secs(9)),
        ..TopicOptions::default()
    };
    embedded.change_topic("orders", &options).expect("valid");
    let info = embedded.topic("orders").expect("it exists");
    assert_eq!(info.max_history_size, 3);
    assert_eq!(info.history_ttl, Some(Duration::from_secs(9)));
    for name in ["other", "a b"] {
        let error = embedded.change_topic(name, &options).unwrap_err();
        assert!(matches!(error, ChangeTopicError::UnknownTopic { .. }));
    }
    let too_long = TopicOptions {
        idle: Some(Duration::MAX),
        ..TopicOptions::default()
    };
    let error = embedded.change_topic("orders", &too_long).unwrap_err();
    assert!(matches!(error, ChangeTopicError::InvalidOption(_)));
}

#[test]
fn a_deleted_topic_cannot_be_changed() {
    let server = TestServer::with_topic("orders");
    server.delete_topic("orders");
    let refused = server.http().patch(PATH, &json!({}));
    refused.expect_problem(404, "TOPIC_NOT_FOUND");
    let mut client = server.ws();
    client.send_text(&publish_text("orders", "1", "p"));
    assert_eq!(code_of(&client.next_json()), "TOPIC_NOT_FOUND");
}
