//! Topics and the state of the server, over REST.

use std::time::Duration;

use threadcast::client::{Error, GapReason, Start, TopicOptions};

use super::client_of;
use crate::harness::{OverflowPolicy, TestServer, assert_timestamp};

#[test]
fn topic_is_created_listed_shown_and_deleted() {
    let server = TestServer::start();
    let client = client_of(&server);
    client.create_topic("orders").unwrap();
    let options = TopicOptions {
        history_size: Some(3),
        max_queue_size: Some(7),
        overflow: Some(OverflowPolicy::Block),
        history_ttl: Some(Duration::from_millis(60_500)),
        idle: None,
    };
    client.create_topic_with("a.b_c:d-e", &options).unwrap();

    let names: Vec<_> = client.topics().unwrap();
    let names: Vec<_> = names.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(names, ["a.b_c:d-e", "orders"]);
    let state = client.topic("a.b_c:d-e").unwrap();
    assert_eq!((state.seq, state.subscribers, state.dropped), (0, 0, 0));
    assert_eq!(
        (state.limits.history_size, state.limits.max_queue_size),
        (3, 7)
    );
    assert_eq!(state.overflow, "block");
    assert_eq!(state.limits.history_ttl, Duration::from_millis(60_500));
    assert_eq!(state.limits.idle, Duration::ZERO);
    assert_eq!(state.history.first_seq, None);

    client.delete_topic("a.b_c:d-e").unwrap();
    assert_eq!(client.topics().unwrap().len(), 1);
}

#[test]
fn topic_is_created_only_if_it_is_missing_and_its_settings_can_be_changed() {
    let server = TestServer::start();
    let client = client_of(&server);
    let options = TopicOptions {
        history_size: Some(3),
        ..TopicOptions::default()
    };
    let created = client.create_topic_if_missing("orders", &options);
    assert!(created.unwrap());
    let other = TopicOptions {
        history_size: Some(4),
        idle: Some(Duration::from_secs(3_600)),
        ..TopicOptions::default()
    };
    assert!(!client.create_topic_if_missing("orders", &other).unwrap());
    assert_eq!(client.topic("orders").unwrap().limits.history_size, 3);
    let error = client.create_topic_if_missing("a b", &options).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");

    let changed = client.change_topic("orders", &other).unwrap();
    assert_eq!(changed, client.topic("orders").unwrap());
    assert_eq!(changed.limits.history_size, 4);
    assert_eq!(changed.limits.idle, Duration::from_secs(3_600));
    let error = client.change_topic("other", &other).unwrap_err();
    assert_eq!(error.code(), Some("TOPIC_NOT_FOUND"));
}

#[test]
fn connections_are_listed_with_subscriptions_up_to_the_limit() {
    let server = TestServer::with_topic("orders");
    let client = client_of(&server);
    let subscription = client.subscribe("orders", Start::Now).unwrap();
    let listed = client.connections(100).unwrap();
    let websockets = listed.connections.iter();
    let websockets: Vec<_> = websockets
        .filter(|one| one.protocol == "websocket")
        .collect();
    assert_eq!(websockets.len(), 1, "{listed:?}");
    let followed = &websockets[0].subscriptions[0];
    assert_eq!(followed.topic, "orders");
    assert_eq!(followed.client_id, subscription.client_id());
    assert_eq!((followed.lag, followed.dropped), (0, 0));
    assert!(websockets[0].address.starts_with("127.0.0.1:"));
    assert_eq!(websockets[0].key, None);
    let limited = client.connections(1).unwrap();
    assert_eq!(limited.connections.len(), 1);
    assert!(limited.total >= 2, "{limited:?}");
}

#[test]
fn subscribers_of_a_topic_are_listed_up_to_the_limit() {
    let server = TestServer::with_topic("orders");
    let client = client_of(&server);
    assert_eq!(client.subscribers("orders", 10).unwrap().total, 0);
    let subscription = client.subscribe("orders", Start::Now).unwrap();
    let listed = client.subscribers("orders", 10).unwrap();
    assert_eq!((listed.total, listed.subscribers.len()), (1, 1));
    let one = &listed.subscribers[0];
    assert_eq!(one.client_id, subscription.client_id());
    assert_timestamp(&one.since.as_str().into());
    let mut other = server.ws();
    other.subscribe("orders", " first");
    let limited = client.subscribers("orders", 1).unwrap();
    assert_eq!((limited.total, limited.subscribers.len()), (2, 1));
    assert_eq!(limited.subscribers[0].client_id, " first");
    for (topic, limit, code) in [
        ("absent", 1, "TOPIC_NOT_FOUND"),
        ("orders", 0, "VALIDATION_ERROR"),
    ] {
        let error = client.subscribers(topic, limit).unwrap_err();
        assert_eq!(error.code(), Some(code));
    }
    let error = client.subscribers("ord*", 1).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
}

#[test]
fn refusal_has_the_code_of_the_server_and_a_hint() {
    let server = TestServer::with_topic("orders");
    let client = client_of(&server);
    let error = client.create_topic("orders").unwrap_err();
    assert_eq!(error.code(), Some("TOPIC_EXISTS"));
    assert_eq!(
        error.to_string(),
        "TOPIC_EXISTS: Topic 'orders' already exists"
    );
    let error = client.delete_topic("nowhere").unwrap_err();
    assert_eq!(error.code(), Some("TOPIC_NOT_FOUND"));
    assert_eq!(
        error.to_string(),
        "TOPIC_NOT_FOUND: Topic 'nowhere' not found",
        "deleting gives no hint to create it"
    );
    let error = client.publish("nowhere", &1).unwrap_err();
    assert_eq!(error.code(), Some("TOPIC_NOT_FOUND"));
    assert!(
        error.to_string().ends_with("create the topic first"),
        "{error}"
    );
    let options = TopicOptions {
        max_queue_size: Some(0),
        ..TopicOptions::default()
    };
    let error = client.create_topic_with("other", &options).unwrap_err();
    assert_eq!(error.code(), Some("VALIDATION_ERROR"));
}

#[test]
fn invalid_topic_name_is_refused_without_a_request() {
    let server = TestServer::start();
    let client = client_of(&server);
    for name in ["", "a b", "a/b", "../health", ".a"] {
        for result in [
            client.create_topic(name),
            client.delete_topic(name),
            client.topic(name).map(drop),
            client.publish(name, &1).map(drop),
            client.subscribe(name, Start::Now).map(drop),
        ] {
            assert!(matches!(result, Err(Error::Invalid { .. })), "{name}");
        }
    }
}

#[test]
fn stats_and_health_are_those_of_the_server() {
    let server = TestServer::with_topic("orders");
    let client = client_of(&server);
    let _subscription = client.subscribe("orders", Start::Now).unwrap();
    client.publish("orders", &1).unwrap();
    let health = client.health().unwrap();
    assert_eq!(
        (health.status.as_str(), health.topics, health.subscribers),
        ("ok", 1, 1)
    );
    assert_eq!(
        (health.engine.as_str(), health.is_node()),
        ("embedded", false)
    );
    assert_eq!(client.nodes().unwrap(), []);
    let stats = client.stats().unwrap();
    assert_eq!(
        (stats["orders"].messages, stats["orders"].subscribers),
        (1, 1)
    );
}

#[test]
fn history_is_read_in_part_or_whole_with_its_gap() {
    let server = TestServer::with(|config| {
        config.history_size = 4;
        config.max_queue_size = 4;
    });
    server.create_topic("orders");
    let client = client_of(&server);
    for number in 1..=6 {
        client.publish("orders", &number).unwrap();
    }
    let seqs = |start| {
        let history = client.history("orders", &start).unwrap();
        let seqs: Vec<_> = history.events.iter().map(|event| event.seq()).collect();
        (seqs, history.gap)
    };
    assert_eq!(seqs(Start::Last(2)), (vec![5, 6], None));
    assert_eq!(seqs(Start::Last(u64::MAX)).0, [3, 4, 5, 6]);
    assert!(seqs(Start::Now).0.is_empty());
    let epoch = client.topic("orders").unwrap().epoch;
    let (events, gap) = seqs(Start::After {
        seq: 1,
        epoch: Some(epoch.as_str().into()),
    });
    let gap = gap.unwrap();
    assert_eq!(events, [3, 4, 5, 6]);
    assert_eq!(
        (gap.range(), gap.reason()),
        (Some((2, 2)), GapReason::HistoryEvicted)
    );
    let foreign = Start::After {
        seq: 1,
        epoch: Some("another".into()),
    };
    assert_eq!(seqs(foreign).1.unwrap().reason(), GapReason::EpochChanged);
}
