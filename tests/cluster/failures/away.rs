//! Redis cannot be reached: what is answered meanwhile, how soon it is noticed, and that nothing is missing afterwards.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    Outage, PACE, durable_cluster, expect_503, expect_all_whole, expect_heard_nothing,
    expect_quick, expect_unavailable, publish_request, subscribe_request,
};
use crate::cluster::{
    COUNT_LIMIT, DELIVERY_LIMIT, Follower, Node, Publisher, Redis, SLACK, Setup, UNAVAILABLE_LIMIT,
    free_port, let_pass, throughout, within,
};
use crate::harness::{seq_of, uuid_of};

#[test]
fn after_a_cut_nothing_is_missing() {
    expect_whole_after(Outage::Cut);
}

#[test]
fn after_a_silence_nothing_is_missing() {
    expect_whole_after(Outage::Silent);
}

#[test]
fn after_a_silence_in_one_direction_nothing_is_missing() {
    expect_whole_after(Outage::OneWay);
}

#[test]
fn after_redis_was_stopped_nothing_is_missing() {
    expect_whole_after(Outage::Paused);
}

#[test]
fn after_redis_was_restarted_with_its_file_nothing_is_missing() {
    expect_whole_after(Outage::Killed);
}

/// Takes Redis away from all nodes while all publish, until all say so, and gives it back.
fn expect_whole_after(outage: Outage) {
    let cluster = durable_cluster(2);
    let followers = cluster.follow("orders");
    let start = |node: &Node| Publisher::start(node, "orders", PACE);
    let publishers: Vec<_> = cluster.nodes().iter().map(start).collect();
    let await_acked = || {
        publishers
            .iter()
            .for_each(|publisher| publisher.await_acked(100));
    };
    await_acked();
    for _ in 0..2 {
        outage.begin(&cluster);
        publishers.iter().for_each(Publisher::await_unsure);
        cluster.nodes().iter().for_each(Node::await_not_ready);
        for node in cluster.nodes() {
            assert_eq!(node.get("/livez").status, 200);
            assert_eq!(node.health()["engine"], "down");
        }
        followers.iter().for_each(expect_heard_nothing);
        outage.end(&cluster);
        cluster.await_ready();
        assert_eq!(cluster[0].health()["engine"], "up");
        await_acked();
    }
    for publisher in &publishers {
        let slowest = publisher.slowest();
        assert!(slowest < UNAVAILABLE_LIMIT + SLACK, "{slowest:?}");
    }
    expect_all_whole(&cluster[0], publishers, &followers);
    followers.iter().for_each(expect_heard_nothing);
}

#[test]
fn after_a_short_stop_nothing_is_missing() {
    let cluster = durable_cluster(2);
    let followers = cluster.follow("orders");
    let publisher = Publisher::start(&cluster[0], "orders", PACE);
    for millis in [50, 300, 1000] {
        publisher.await_acked(50);
        cluster.redis().pause();
        let_pass(Duration::from_millis(millis));
        cluster.redis().proceed();
        publisher.await_acked(50);
    }
    expect_all_whole(&cluster[0], vec![publisher], &followers);
    followers.iter().for_each(expect_heard_nothing);
}

#[test]
fn while_redis_is_away_what_needs_it_is_unavailable() {
    for outage in [Outage::Cut, Outage::Silent] {
        let cluster = durable_cluster(1);
        let node = &cluster[0];
        let mut client = node.ws();
        client.subscribe("orders", "c");
        outage.begin(&cluster);
        expect_unavailable(&mut client, publish_request("orders"));
        expect_unavailable(&mut client, subscribe_request("orders", "d"));
        expect_unavailable(&mut client, publish_request("unknown"));
        expect_unavailable(&mut client, subscribe_request("unknown", "c"));
        let body = json!({"payload": 1});
        for path in [
            "/topics",
            "/topics/orders",
            "/topics/orders/messages",
            "/topics/orders/subscribers",
            "/stats",
            "/nodes",
        ] {
            expect_503(path, || node.get(path));
        }
        expect_503("creation", || node.try_create_topic("new", &json!({})));
        expect_503("deletion", || node.delete("/topics/orders"));
        expect_503("publish", || node.post("/topics/orders/messages", &body));
        outage.end(&cluster);
    }
}

#[test]
fn while_redis_is_away_the_rest_is_answered() {
    for outage in [Outage::Cut, Outage::Silent] {
        let cluster = durable_cluster(1);
        let node = &cluster[0];
        let mut client = node.ws();
        client.subscribe("orders", "c");
        client.subscribe("orders", "d");
        cluster[0].publish("orders", 1, 5);
        within(COUNT_LIMIT, "two subscriptions", || {
            node.health()["subscribers"] == 2
        });
        outage.begin(&cluster);
        node.await_not_ready();
        let start = Instant::now();
        assert_eq!(client.ask(json!({"type": "ping"}))["type"], "pong");
        expect_quick(start, "ping");
        assert_eq!(seq_of(&client.unsubscribe("orders", "d")), 5);
        expect_quick(start, "unsubscribe");
        let health = node.health();
        assert_eq!(
            (&health["engine"], &health["topics"]),
            (&json!("down"), &json!(1))
        );
        for path in ["/livez", "/connections", "/metrics", "/config"] {
            assert_eq!(node.get(path).status, 200, "{path}");
        }
        expect_quick(start, "what needs no Redis");
        let mut later = node.ws();
        assert_eq!(later.ask(json!({"type": "ping"}))["type"], "pong");
        outage.end(&cluster);
        node.await_ready();
        node.await_subscribers("orders", 1);
    }
}

#[test]
fn counts_that_nobody_asked_for_are_known_while_redis_is_away() {
    let cluster = durable_cluster(2);
    let mut client = cluster[0].ws();
    client.subscribe("orders", "c");
    client.subscribe("orders", "d");
    // Neither node is asked for anything until all may know.
    let_pass(COUNT_LIMIT);
    Outage::Cut.begin(&cluster);
    for node in cluster.nodes() {
        let health = node.health();
        let counts = (&health["topics"], &health["subscribers"]);
        assert_eq!(counts, (&json!(1), &json!(2)), "{health}");
    }
}

#[test]
fn requests_are_as_quick_when_many_wait_while_redis_is_silent() {
    let cluster = durable_cluster(1);
    let mut clients: Vec<_> = (0..20).map(|_| cluster[0].ws()).collect();
    Outage::Silent.begin(&cluster);
    let start = Instant::now();
    for (n, client) in clients.iter_mut().enumerate() {
        let message = json!({"id": uuid_of(n as u64), "payload": n});
        client.send(
            &json!({"type": "publish", "topic": "orders", "message": message, "request_id": "p"}),
        );
    }
    for client in &mut clients {
        let answer = client.expect_reply("p");
        assert_eq!(answer["error"]["code"], "UNAVAILABLE", "{answer}");
    }
    expect_quick(start, "twenty publishes at once");
    Outage::Silent.end(&cluster);
}

#[test]
fn rest_publishes_and_pings_go_on_while_requests_wait_for_redis() {
    let cluster = durable_cluster(1);
    let mut stuck: Vec<_> = (0..8).map(|_| cluster[0].http()).collect();
    Outage::Silent.begin(&cluster);
    for http in &mut stuck {
        http.send_raw(b"GET /topics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    let start = Instant::now();
    assert_eq!(cluster[0].get("/livez").status, 200);
    assert_eq!(cluster[0].health()["status"], "ok");
    expect_quick(start, "health beside requests that wait");
    for http in &mut stuck {
        http.read_reply().expect_problem(503, "UNAVAILABLE");
    }
    Outage::Silent.end(&cluster);
}

#[test]
fn unsubscribed_and_closed_while_away_is_gone_afterwards() {
    let cluster = durable_cluster(2);
    let mut clients: Vec<_> = (0..3).map(|_| cluster[1].ws()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.subscribe("orders", &format!("c{n}"));
    }
    cluster[0].await_subscribers("orders", 3);
    Outage::Cut.begin(&cluster);
    clients[0].unsubscribe("orders", "c0");
    clients.remove(1).reset();
    cluster[1].await_not_ready();
    Outage::Cut.end(&cluster);
    cluster.await_ready();
    cluster
        .nodes()
        .iter()
        .for_each(|node| node.await_subscribers("orders", 1));
    cluster[0].publish("orders", 1, 1);
    clients[1].next_event();
    assert_eq!(clients[0].fence(), Vec::<Value>::new());
}

#[test]
fn node_that_starts_without_redis_is_not_ready_says_so_and_is_ready_later() {
    let port = free_port();
    let url = format!("redis://127.0.0.1:{port}");
    let node = Node::start(&[("PUBSUB_REDIS_URL", &url), ("PUBSUB_TOPICS", "orders")]);
    assert_eq!(node.get("/livez").status, 200);
    assert_eq!(node.get("/readyz").status, 503);
    assert_eq!(node.health()["engine"], "down");
    let mut client = node.ws();
    assert_eq!(client.ask(json!({"type": "ping"}))["type"], "pong");
    expect_unavailable(&mut client, publish_request("orders"));
    expect_unavailable(&mut client, subscribe_request("orders", "c"));
    expect_503("creation", || node.try_create_topic("new", &json!({})));
    let address = format!("127.0.0.1:{port}");
    within(DELIVERY_LIMIT, "a line about Redis", || {
        node.has_logged(&address)
    });
    throughout(Duration::from_secs(1), "not ready", || !node.is_ready());
    let _redis = Redis::at(port, &[]);
    node.await_ready();
    assert_eq!(node.publish("orders", 1, 1), [1]);
    client.subscribe("orders", "c");
}

#[test]
fn while_redis_loads_its_file_it_counts_as_away() {
    // A tenth of a second for each key, and answers all the while.
    let slow = [
        ("key-load-delay", "100000"),
        ("loading-process-events-interval-bytes", "1024"),
    ];
    let cluster = Setup::of(2).over(Redis::with(&slow)).start();
    cluster[0].create_topic("orders");
    for n in 0..40 {
        cluster[0].create_topic(&format!("t{n}"));
    }
    let followers = cluster.follow("orders");
    cluster[0].publish("orders", 1, 5);
    let epoch = cluster[0].epoch("orders");
    cluster.redis().command(&["SAVE"]);
    cluster.redis().restart_loading();
    expect_unavailable(&mut cluster[0].ws(), publish_request("orders"));
    expect_503("figures", || cluster[1].get("/topics/orders"));
    assert_eq!(cluster[0].health()["engine"], "down");
    cluster[0].await_not_ready();
    cluster.await_ready();
    assert_eq!(cluster[1].epoch("orders"), epoch);
    assert_eq!(cluster[1].publish("orders", 6, 8), [6, 7, 8]);
    for follower in &followers {
        follower.expect_whole(8);
        expect_heard_nothing(follower);
    }
}

#[test]
fn nodes_that_wait_for_redis_do_not_try_without_pause() {
    let cluster = durable_cluster(1);
    let _follower = Follower::start(&cluster[0], "orders", "f");
    cluster
        .proxy(0)
        .lead_to(([127, 0, 0, 1], free_port()).into());
    cluster.proxy(0).drop_connections();
    cluster[0].await_not_ready();
    let before = cluster[0].log().len();
    let_pass(Duration::from_secs(5));
    let lines = cluster[0].log().len() - before;
    assert!(lines < 30, "{lines} lines in 5 s");
    cluster.proxy(0).lead_to(cluster.redis().addr());
    cluster[0].await_ready();
}
