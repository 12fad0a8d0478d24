//! Redis over TLS: everything works as without, and whatever is wrong is one line in the log and in `/health`.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::{
    BOTH, Certificates, Cluster, Follower, Node, NodeProcess, Publisher, READY_LIMIT, Redis, SLACK,
    Setup, UNAVAILABLE_LIMIT, audit, within,
};

const PACE: Duration = Duration::from_millis(5);
/// When a node has tried to connect and says what is wrong.
const LINE_LIMIT: Duration = Duration::from_secs(5);

/// Two nodes over TLS, with a proxy each.
fn cluster_over_tls(certificates: &Certificates) -> Cluster {
    Setup::of(2)
        .over(Redis::with_tls(
            certificates,
            &[("requirepass", "sEcReT-pw")],
        ))
        .with_proxies()
        .set("PUBSUB_REDIS_CA_FILE", &certificates.ca())
        .set("PUBSUB_HISTORY_SIZE", "100000")
        .set("PUBSUB_LOG_LEVEL", "DEBUG")
        .start()
}

fn node_at(url: &str, variables: &[(&str, &str)]) -> Node {
    let mut all = vec![("PUBSUB_REDIS_URL", url)];
    all.extend(variables);
    Node::start(&all)
}

/// Waits until `/health` and the log say this; the node is not ready, and lives.
#[track_caller]
fn expect_refused(node: &Node, reason: &str) {
    within(LINE_LIMIT, reason, || {
        let error = node.health()["engine_error"].to_string();
        error.contains(reason) && node.has_logged(reason)
    });
    let lines = node.log();
    let said = lines.iter().filter(|line| line.contains(reason));
    assert_eq!(said.count(), 1, "{lines:?}");
    assert!(!node.is_ready());
    assert_eq!(node.health()["engine"], "down");
    assert_eq!(node.get("/livez").status, 200);
}

#[test]
fn events_reach_the_subscribers_of_all_nodes_over_tls() {
    let certificates = Certificates::new();
    let cluster = cluster_over_tls(&certificates);
    cluster[0].create_topic("orders");
    let mut followers = cluster.follow("orders");
    let publishers: Vec<_> = cluster
        .nodes()
        .iter()
        .map(|node| Publisher::start(node, "orders", PACE))
        .collect();
    publishers.iter().for_each(|one| one.await_acked(500));
    // A link that receives follows further channels.
    for n in 0..20 {
        let topic = format!("t{n}");
        cluster[0].create_topic(&topic);
        let follower = Follower::start(&cluster[1], &topic, "later");
        assert_eq!(cluster[0].publish(&topic, 1, 2), [1, 2]);
        follower.expect_whole(2);
    }
    followers.push(Follower::start(&cluster[1], "orders", "later"));
    publishers.iter().for_each(|one| one.await_acked(500));
    let published: Vec<_> = publishers.into_iter().map(Publisher::stop).collect();
    let head = cluster[0].seq("orders");
    for follower in &followers {
        follower.expect_whole(head);
    }
    audit(&published, &followers);
    let plain = cluster.redis().info("server", "tcp_port");
    assert!(
        !cluster.redis().url().ends_with(&plain),
        "the port with TLS"
    );
    for node in cluster.nodes() {
        assert!(!node.has_logged("sEcReT-pw"));
        assert!(!node.get("/config").to_string().contains("sEcReT-pw"));
    }
}

#[test]
fn large_batches_travel_over_tls() {
    let certificates = Certificates::new();
    let cluster = cluster_over_tls(&certificates);
    cluster[0].create_topic("orders");
    let mut subscriber = cluster[1].ws();
    subscriber.subscribe("orders", "c");
    let payload = "x".repeat(900_000);
    let body = serde_json::json!({ "payload": payload });
    for _ in 0..4 {
        cluster[0]
            .post("/topics/orders/messages", &body)
            .expect(201);
    }
    for event in subscriber.next_events(4) {
        assert_eq!(event["message"]["payload"], payload.as_str());
    }
}

#[test]
fn large_publish_is_answered_in_time_when_nothing_comes_through() {
    let certificates = Certificates::new();
    let cluster = cluster_over_tls(&certificates);
    cluster[0].create_topic("orders");
    let body = serde_json::json!({ "payload": "x".repeat(900_000) });
    cluster.proxy(0).hold(&BOTH);
    let publish = || {
        let start = Instant::now();
        let reply = cluster[0].post("/topics/orders/messages", &body);
        (reply.status, start.elapsed())
    };
    let answers: Vec<_> = thread::scope(|scope| {
        let publishers: Vec<_> = (0..4).map(|_| scope.spawn(publish)).collect();
        let joined = publishers.into_iter().map(|one| one.join());
        joined.map(|answer| answer.expect("an answer")).collect()
    });
    for (status, took) in &answers {
        assert_eq!(*status, 503);
        assert!(*took < UNAVAILABLE_LIMIT + SLACK, "{answers:?}");
    }
}

#[test]
fn outage_over_tls_loses_nothing() {
    let certificates = Certificates::new();
    let cluster = cluster_over_tls(&certificates);
    cluster[0].create_topic("orders");
    let followers = cluster.follow("orders");
    let publisher = Publisher::start(&cluster[0], "orders", PACE);
    publisher.await_acked(100);
    cluster.proxies().iter().for_each(|proxy| proxy.cut());
    cluster.nodes().iter().for_each(Node::await_not_ready);
    cluster.proxies().iter().for_each(|proxy| proxy.heal());
    cluster.await_ready();
    publisher.await_acked(100);
    // Links stay open, and nothing comes through: also new handshakes get no answer.
    cluster.proxies().iter().for_each(|proxy| proxy.hold(&BOTH));
    cluster.nodes().iter().for_each(Node::await_not_ready);
    publisher.await_unsure();
    cluster.proxies().iter().for_each(|proxy| proxy.heal());
    cluster.await_ready();
    publisher.await_acked(100);
    assert!(cluster.redis().kill_clients("pubsub") > 0);
    publisher.await_acked(100);
    let published = publisher.stop();
    let head = cluster[0].seq("orders");
    for follower in &followers {
        follower.expect_whole(head);
    }
    audit(&[published], &followers);
}

#[test]
fn certificate_of_another_authority_is_refused() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let redis = Redis::with_tls(&certificates, &[]);
    let node = node_at(&redis.url(), &[("PUBSUB_REDIS_CA_FILE", &others.ca())]);
    expect_refused(&node, "its certificate is not accepted");
    // Nor does a private authority count without the setting.
    let node = node_at(&redis.url(), &[]);
    expect_refused(&node, "its certificate is not accepted");
    assert_eq!(redis.keys(), Vec::<String>::new());
}

#[test]
fn certificate_for_another_name_is_refused() {
    let certificates = Certificates::naming("DNS:redis.example");
    let redis = Redis::with_tls(&certificates, &[]);
    let node = node_at(
        &redis.url(),
        &[("PUBSUB_REDIS_CA_FILE", &certificates.ca())],
    );
    expect_refused(&node, "its certificate is not accepted");
}

#[test]
fn file_of_authorities_is_read_again_when_a_node_connects() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let redis = Redis::with_tls(&certificates, &[]);
    let node = node_at(&redis.url(), &[("PUBSUB_REDIS_CA_FILE", &others.ca())]);
    expect_refused(&node, "its certificate is not accepted");
    fs::copy(certificates.ca(), others.ca()).expect("a file");
    node.await_ready();
    node.create_topic("orders");
    assert_eq!(node.publish("orders", 1, 3), [1, 2, 3]);
}

#[test]
fn certificate_that_is_refused_later_is_one_line_too() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let redis = Redis::with_tls(&certificates, &[]);
    let ca = certificates.ca();
    let node = node_at(&redis.url(), &[("PUBSUB_REDIS_CA_FILE", &ca)]);
    node.await_ready();
    fs::copy(others.ca(), &ca).expect("a file");
    redis.kill_clients("normal");
    expect_refused(&node, "its certificate is not accepted");
}

#[test]
fn port_without_tls_is_named_as_such() {
    let certificates = Certificates::new();
    let redis = Redis::start();
    // A Redis waits for more; anything else, such as a web server, answers.
    let http = Node::start(&[]);
    for (addr, reason) in [
        (redis.addr(), "or does not speak TLS there"),
        (http.addr(), "it does not speak TLS there"),
    ] {
        let url = format!("rediss://{addr}");
        let node = node_at(&url, &[("PUBSUB_REDIS_CA_FILE", &certificates.ca())]);
        expect_refused(&node, reason);
    }
}

#[test]
fn port_with_tls_is_named_as_such() {
    let certificates = Certificates::new();
    let redis = Redis::with_tls(&certificates, &[]);
    let node = node_at(&format!("redis://{}", redis.node_addr()), &[]);
    expect_refused(&node, "the URL must begin with rediss");
}

#[test]
fn redis_that_wants_a_certificate_gets_that_of_the_node() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let redis = Redis::with_tls(&certificates, &[("tls-auth-clients", "yes")]);
    let ca = certificates.ca();
    let with = |[certificate, key]: [String; 2]| {
        node_at(
            &redis.url(),
            &[
                ("PUBSUB_REDIS_CA_FILE", &ca),
                ("PUBSUB_REDIS_CERT_FILE", &certificate),
                ("PUBSUB_REDIS_KEY_FILE", &key),
            ],
        )
    };
    let node = with(certificates.pair());
    node.await_ready();
    node.create_topic("orders");
    assert_eq!(node.publish("orders", 1, 2), [1, 2]);
    let stranger = with(others.pair());
    let without = node_at(&redis.url(), &[("PUBSUB_REDIS_CA_FILE", &ca)]);
    for refused in [&stranger, &without] {
        within(LINE_LIMIT, "the node says that it is down", || {
            refused.health()["engine_error"].is_string()
        });
        assert!(!refused.is_ready());
    }
    assert!(node.is_ready());
}

#[test]
fn certificate_without_its_key_stops_the_start() {
    let certificates = Certificates::new();
    let [certificate, key] = certificates.pair();
    for (variable, file) in [
        ("PUBSUB_REDIS_CERT_FILE", &certificate),
        ("PUBSUB_REDIS_KEY_FILE", &key),
        ("PUBSUB_REDIS_KEY_FILE", &certificate),
    ] {
        let url = "rediss://127.0.0.1:1";
        let node = NodeProcess::start(&[("PUBSUB_REDIS_URL", url), (variable, file)]);
        let (status, log) = (node.await_end(), node.log());
        assert_eq!(status.code(), Some(2), "{log:?}");
        assert_eq!(log.len(), 1, "one line: {log:?}");
        assert!(
            log[0].contains("redis_key_file") || log[0].contains("REDIS_KEY_FILE"),
            "{log:?}"
        );
    }
}

#[test]
fn handshake_without_an_answer_ends_at_its_deadline_and_is_tried_again() {
    let certificates = Certificates::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let url = format!("rediss://{}", listener.local_addr().expect("an address"));
    let (accepted, attempts) = mpsc::channel::<(Instant, TcpStream)>();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if accepted.send((Instant::now(), stream)).is_err() {
                return;
            }
        }
    });
    let node = node_at(&url, &[("PUBSUB_REDIS_CA_FILE", &certificates.ca())]);
    expect_refused(&node, "it does not answer in time");
    let next = || attempts.recv_timeout(READY_LIMIT).expect("an attempt");
    let ((first, _open), (second, _also_open)) = (next(), next());
    assert!(
        second - first < Duration::from_secs(3),
        "{:?}",
        second - first
    );
}

#[test]
fn wrong_files_of_authorities_stop_the_start() {
    let certificates = Certificates::new();
    let empty = certificates.directory().join("empty.pem");
    fs::write(&empty, "no certificate\n").expect("a file");
    let broken = certificates.directory().join("broken.pem");
    let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(&broken, text).expect("a file");
    let missing = certificates.directory().join("missing.pem");
    for file in [&empty, &broken, &missing] {
        let file = file.to_str().expect("a path");
        let node = NodeProcess::start(&[
            ("PUBSUB_REDIS_URL", "rediss://127.0.0.1:1"),
            ("PUBSUB_REDIS_CA_FILE", file),
        ]);
        let status = node.await_end();
        let log = node.log();
        assert_eq!(status.code(), Some(2), "{file}: {log:?}");
        assert_eq!(log.len(), 1, "one line: {log:?}");
        assert!(
            log[0].contains("PUBSUB_REDIS_CA_FILE") && log[0].contains(file),
            "{log:?}"
        );
    }
}
