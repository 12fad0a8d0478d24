//! What a node says of the cluster and of itself: `/nodes`, `/health`, `/stats`, `/connections`, and its settings.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cluster::{
    COUNT_LIMIT, Cluster, DEAD_NODE_LIMIT, DELIVERY_LIMIT, LIST_LIMIT, Node, NodeProcess, Redis,
    Setup, throughout, within,
};
use crate::harness::{HttpClient, TextFile, entry};

fn ids(node: &Node) -> BTreeSet<String> {
    let nodes = node.nodes();
    let id = |node: &Value| node["id"].as_str().expect("an id").to_owned();
    nodes.iter().map(id).collect()
}

#[test]
fn every_node_lists_all_nodes_with_what_each_is() {
    let cluster = Cluster::of(3);
    for node in cluster.nodes() {
        within(COUNT_LIMIT, "three nodes", || node.nodes().len() == 3);
        let nodes = node.nodes();
        let addresses: Vec<&str> = nodes.iter().filter_map(|n| n["address"].as_str()).collect();
        for other in cluster.nodes() {
            let port = format!(":{}", other.addr().port());
            let named = addresses.iter().filter(|address| address.ends_with(&port));
            assert_eq!(named.count(), 1, "{port} in {addresses:?}");
        }
        for one in &nodes {
            assert_eq!(one["version"], env!("CARGO_PKG_VERSION"), "{one}");
            assert!(one["uptime_sec"].is_u64(), "{one}");
            assert!(one["connections"].is_u64(), "{one}");
            assert!(one["subscriptions"].is_u64(), "{one}");
            assert_eq!(one["engine"]["state"], "up", "{one}");
            assert!(
                one["engine"]["latency_ms"]
                    .as_f64()
                    .is_some_and(|ms| ms > 0.0),
                "{one}"
            );
        }
    }
    assert_eq!(ids(&cluster[0]).len(), 3);
    assert_eq!(ids(&cluster[0]), ids(&cluster[1]));
    assert_eq!(ids(&cluster[0]), ids(&cluster[2]));
}

#[test]
fn list_of_nodes_counts_connections_and_subscriptions_of_each() {
    let cluster = Cluster::with_topic(2, "orders");
    let mut clients: Vec<_> = (0..3).map(|_| cluster[1].ws()).collect();
    clients[0].subscribe("orders", "a");
    clients[1].subscribe("orders", "b");
    let port = format!(":{}", cluster[1].addr().port());
    within(COUNT_LIMIT, "three connections, two subscriptions", || {
        let nodes = cluster[0].nodes();
        let mut found = nodes.iter().filter(|node| {
            node["address"]
                .as_str()
                .is_some_and(|address| address.ends_with(&port))
        });
        let node = found.next().expect("the node is listed");
        node["connections"] == 3 && node["subscriptions"] == 2
    });
}

#[test]
fn list_of_nodes_shows_the_addresses_that_the_nodes_advertise() {
    let mut cluster = Cluster::of(1);
    let port = |node: &Node| node.addr().port();
    let named = cluster.add_node(&[("PUBSUB_ADVERTISED_ADDRESS", "node-1.example:81")]);
    let host = cluster.add_node(&[("PUBSUB_ADVERTISED_ADDRESS", "fd00::5")]);
    let everywhere = cluster.add_node(&[("PUBSUB_HOST", "0.0.0.0")]);
    let machine = nix::unistd::gethostname().expect("a name");
    let mut expected = vec![
        cluster[0].addr().to_string(),
        "node-1.example:81".to_owned(),
        format!("[fd00::5]:{}", port(&cluster[host])),
        format!("{}:{}", machine.display(), port(&cluster[everywhere])),
    ];
    expected.sort();
    for node in [&cluster[0], &cluster[named], &cluster[everywhere]] {
        let shown = || {
            let nodes = node.nodes();
            let address = |node: &Value| node["address"].as_str().expect("a text").to_owned();
            let mut addresses: Vec<String> = nodes.iter().map(address).collect();
            addresses.sort();
            addresses
        };
        within(COUNT_LIMIT, "the addresses", || shown() == expected);
    }
}

#[test]
fn node_that_is_shut_down_leaves_the_list_of_nodes_and_one_that_starts_joins() {
    let mut cluster = Cluster::of(2);
    let before = ids(&cluster[0]);
    cluster[1].shut_down();
    within(COUNT_LIMIT, "one node", || cluster[0].nodes().len() == 1);
    let new = cluster.add_node(&[]);
    within(COUNT_LIMIT, "two nodes", || cluster[0].nodes().len() == 2);
    assert_eq!(ids(&cluster[0]), ids(&cluster[new]));
    assert_ne!(ids(&cluster[0]), before, "a new node has a new id");
}

#[test]
fn node_that_is_killed_leaves_the_list_of_nodes() {
    let cluster = Cluster::of(3);
    cluster[2].kill();
    for node in &cluster.nodes()[..2] {
        within(DEAD_NODE_LIMIT, "two nodes", || node.nodes().len() == 2);
    }
}

#[test]
fn node_is_ready_and_its_engine_is_up() {
    let cluster = Cluster::of(1);
    assert_eq!(cluster[0].get("/livez").status, 200);
    assert_eq!(cluster[0].get("/readyz").status, 200);
    let health = cluster[0].health();
    assert_eq!(
        (&health["status"], &health["engine"]),
        (&json!("ok"), &json!("up"))
    );
}

#[test]
fn server_without_redis_says_that_its_engine_is_embedded() {
    let node = Node::start(&[]);
    assert_eq!(node.health()["engine"], "embedded");
}

#[test]
fn health_and_stats_count_for_the_cluster() {
    let cluster = Cluster::with_topic(3, "orders");
    cluster[1].create_topic("returns");
    let mut clients: Vec<_> = cluster.nodes().iter().map(Node::ws).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.subscribe("orders", &format!("c{n}"));
    }
    clients[0].subscribe("returns", "c");
    cluster[2].publish("orders", 1, 7);
    for node in cluster.nodes() {
        within(LIST_LIMIT, "two topics", || node.health()["topics"] == 2);
        within(COUNT_LIMIT, "four subscriptions", || {
            node.health()["subscribers"] == 4
        });
        let orders = || node.get("/stats").expect(200)["topics"]["orders"].clone();
        within(COUNT_LIMIT, "the figures of a topic", || {
            let figures = orders();
            figures["messages"] == 7 && figures["subscribers"] == 3 && figures["seq"] == 7
        });
    }
    drop(clients);
    for node in cluster.nodes() {
        within(COUNT_LIMIT, "no subscription", || {
            node.health()["subscribers"] == 0
        });
    }
}

#[test]
fn subscribers_in_lists_count_for_the_cluster() {
    let cluster = Cluster::with_topic(3, "orders");
    let mut clients: Vec<_> = cluster.nodes().iter().map(Node::ws).collect();
    for count in 1..=3 {
        clients[count - 1].subscribe("orders", &format!("c{count}"));
        for node in cluster.nodes() {
            node.await_subscribers("orders", count as u64);
            within(COUNT_LIMIT, "the count in the list", || {
                let list = node.get("/topics").expect(200);
                list["topics"] == json!([{"name": "orders", "subscribers": count}])
            });
        }
    }
}

#[test]
fn list_of_connections_is_the_nodes_own() {
    let cluster = Cluster::with_topic(2, "orders");
    let mut client = cluster[0].ws();
    client.subscribe("orders", "mine");
    let of = |node: &Node| node.get("/connections").expect(200).to_string();
    assert!(of(&cluster[0]).contains("\"mine\""));
    assert!(!of(&cluster[1]).contains("\"mine\""));
}

#[test]
fn list_of_nodes_needs_the_right_of_an_administrator() {
    let keys = entry("admin", "all", "admin = true")
        + &entry("reader", "some", "subscribe = [\"*\"]\nadmin = false");
    let keys = TextFile::new(&keys);
    let path = keys.path().to_str().expect("a path").to_owned();
    let redis = Redis::start();
    let node = Node::start(&[
        ("PUBSUB_REDIS_URL", &redis.url()),
        ("PUBSUB_KEYS_FILE", &path),
    ]);
    node.await_ready();
    let with_key = |secret: &str| {
        let mut http: HttpClient = node.http();
        http.request("GET", "/nodes", &[("X-API-Key", secret)], "")
    };
    node.get("/nodes").expect_problem(401, "UNAUTHORIZED");
    with_key("some").expect_problem(403, "FORBIDDEN");
    assert_eq!(
        with_key("all").expect(200)["nodes"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn clusters_with_other_prefixes_share_nothing() {
    let cluster = Cluster::with_topic(1, "orders");
    let url = cluster.redis().url();
    let other = Node::start(&[("PUBSUB_REDIS_URL", &url), ("PUBSUB_REDIS_PREFIX", "other")]);
    other.await_ready();
    other
        .get("/topics/orders")
        .expect_problem(404, "TOPIC_NOT_FOUND");
    other.create_topic("orders");
    let (mut here, mut there) = (cluster[0].ws(), other.ws());
    here.subscribe("orders", "c");
    there.subscribe("orders", "c");
    cluster[0].publish("orders", 1, 3);
    here.next_events(3);
    assert_eq!(other.seq("orders"), 0);
    assert_eq!(there.fence(), Vec::<Value>::new());
    assert_eq!(here.fence(), Vec::<Value>::new(), "no takeover");
    assert_eq!(other.nodes().len(), 1);
    let keys = cluster.redis().keys();
    let stray = keys
        .iter()
        .filter(|key| !key.contains(cluster.prefix()) && !key.contains("other"));
    assert_eq!(stray.collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn wrong_settings_stop_the_start() {
    for (variable, value) in [
        ("PUBSUB_REDIS_URL", "http://127.0.0.1:6379"),
        ("PUBSUB_REDIS_URL", "redis://"),
        ("PUBSUB_REDIS_PREFIX", "a b"),
        ("PUBSUB_REDIS_PREFIX", "a:b"),
        ("PUBSUB_REDIS_PREFIX", "a{b}"),
        ("PUBSUB_REDIS_PREFIX", &"p".repeat(65)),
        ("PUBSUB_ADVERTISED_ADDRESS", "0.0.0.0"),
        ("PUBSUB_ADVERTISED_ADDRESS", "node-1:99999"),
        ("PUBSUB_ADVERTISED_ADDRESS", "ws://node-1:8080"),
    ] {
        let node = NodeProcess::start(&[
            ("PUBSUB_REDIS_URL", "redis://127.0.0.1:1"),
            (variable, value),
        ]);
        let status = node.await_end();
        let log = node.log().join("\n");
        assert_eq!(status.code(), Some(2), "{variable}={value}: {log}");
        assert!(log.contains(variable), "{variable}={value}: {log}");
    }
}

#[test]
fn password_of_the_url_is_never_shown() {
    let redis = Redis::with(&[("requirepass", "sEcReT-pw")]);
    let cluster = Setup::of(1)
        .over(redis)
        .set("PUBSUB_LOG_LEVEL", "DEBUG")
        .start();
    for path in [
        "/config",
        "/health",
        "/nodes",
        "/stats",
        "/connections",
        "/metrics",
    ] {
        let reply = cluster[0].get(path);
        assert_eq!(reply.status, 200, "{reply}");
        assert!(!reply.to_string().contains("sEcReT-pw"), "{reply}");
    }
    assert!(
        !cluster[0].has_logged("sEcReT-pw"),
        "{:?}",
        cluster[0].log()
    );
}

#[test]
fn topics_are_spread_over_several_redis_in_whatever_order_they_are_named() {
    let (first, second) = (Redis::start(), Redis::start());
    let urls =
        [(&first, &second), (&second, &first)].map(|(a, b)| format!("{},{}", a.url(), b.url()));
    let nodes = urls.map(|urls| Node::start(&[("PUBSUB_REDIS_URL", &urls)]));
    nodes.iter().for_each(Node::await_ready);
    let names: Vec<String> = (10..40).map(|n| format!("t{n}")).collect();
    let mut subscriber = nodes[1].ws();
    for name in &names {
        nodes[0].create_topic(name);
        subscriber.subscribe(name, "c");
        assert_eq!(nodes[0].publish(name, 1, 2), [1, 2]);
        subscriber.next_events(2);
        assert_eq!(nodes[1].seq(name), 2);
    }
    for node in &nodes {
        within(LIST_LIMIT, "all topics", || node.topic_names() == names);
        within(COUNT_LIMIT, "two nodes", || node.nodes().len() == 2);
    }
    for redis in [&first, &second] {
        let keys = redis.keys();
        let here = names
            .iter()
            .filter(|name| keys.iter().any(|key| key.contains(*name)));
        let here = here.count();
        assert!((5..=25).contains(&here), "{here} of {} topics", names.len());
    }
}

#[test]
fn node_with_other_redis_than_the_rest_is_refused() {
    let other = Redis::start();
    let cluster = Cluster::with_topic(2, "orders");
    let urls = format!("{},{}", cluster.redis().url(), other.url());
    let node = cluster.node_at(&urls, &[]);
    within(
        DELIVERY_LIMIT,
        "the node ends, or says why it is not ready",
        || node.ended().is_some() || node.log().iter().any(|line| line.contains("ERROR")),
    );
    let is_refused = || node.ended().is_some() || !node.is_ready();
    throughout(COUNT_LIMIT, "the node is refused", is_refused);
    assert_eq!(cluster[0].nodes().len(), 2);
    cluster[0].publish("orders", 1, 3);
}

#[test]
fn node_with_other_redis_than_those_of_the_topics_is_refused() {
    let (first, second) = (Redis::start(), Redis::start());
    let both = format!("{},{}", first.url(), second.url());
    let turned = format!("{},{}", second.url(), first.url());
    let node_at = |urls: &str, prefix| {
        Node::start(&[("PUBSUB_REDIS_URL", urls), ("PUBSUB_REDIS_PREFIX", prefix)])
    };
    let names: Vec<String> = (10..20).map(|n| format!("t{n}")).collect();
    let node = node_at(&both, "p");
    node.await_ready();
    names.iter().for_each(|name| node.create_topic(name));
    node.shut_down();

    let refused = node_at(&first.url(), "p");
    within(DELIVERY_LIMIT, "the reason", || {
        let error = refused.health()["engine_error"].to_string();
        let named = [&*first.url(), &*second.url(), "PUBSUB_REDIS_PREFIX"];
        named.into_iter().all(|text| error.contains(text))
    });
    assert!(!refused.is_ready());
    assert_eq!(refused.get("/topics").status, 503);
    node_at(&first.url(), "another").await_ready();

    let node = node_at(&turned, "p");
    node.await_ready();
    assert_eq!(node.topic_names(), names);
    names.iter().for_each(|name| node.delete_topic(name));
    node.shut_down();
    refused.await_ready();
    refused.create_topic("orders");
}

#[test]
fn node_that_stops_in_order_logs_no_error() {
    let cluster = Cluster::with_topic(2, "orders");
    let mut clients: Vec<_> = (0..20).map(|_| cluster[1].ws()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.subscribe("orders", &format!("c{n}"));
    }
    clients[0].publish_many("orders", 1, 100);
    for node in cluster.nodes() {
        node.shut_down();
        for text in ["ERROR", "WARN", "cannot be used"] {
            assert!(!node.has_logged(text), "{:#?}", node.log());
        }
    }
}

#[test]
fn spelling_of_the_url_does_not_matter() {
    let cluster = Cluster::with_topic(1, "orders");
    let port = cluster.redis().addr().port();
    let node = cluster.node_at(&format!("redis://localhost:{port}/0"), &[]);
    node.await_ready();
    assert_eq!(node.publish("orders", 1, 1), [1]);
    assert!(cluster[0].is_ready());
}
