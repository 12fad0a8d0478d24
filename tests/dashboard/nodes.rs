//! What the page shows of a cluster: its nodes, a Redis that is away, and a new epoch in the tail.

use serde_json::{Value, json};

use crate::cluster::{COUNT_LIMIT, Cluster, Node, Redis, Setup, within};
use crate::harness::TestServer;
use crate::page::Page;

fn is_hidden(page: &mut Page, selector: &str) -> bool {
    let hidden = page.eval(&format!("document.querySelector('{selector}').hidden"));
    hidden.as_bool().expect("a boolean")
}

#[test]
fn server_that_is_no_node_shows_nothing_of_a_cluster() {
    let server = TestServer::start();
    let mut page = Page::of(&server);
    assert!(is_hidden(&mut page, "#nodes") && is_hidden(&mut page, "#engine"));
    page.expect_clean();
}

#[test]
fn nodes_are_shown_with_their_figures() {
    let cluster = Cluster::with_topic(2, "orders");
    let mut client = cluster[1].ws();
    client.subscribe("orders", "s1");
    let mut page = Page::at(cluster[0].addr());
    within(COUNT_LIMIT, "two nodes and the subscription", || {
        let of_the_client = cluster[1].addr().to_string();
        page.row("node-table", &of_the_client)["Subscriptions"] == "1"
    });
    for node in cluster.nodes() {
        let row = page.await_row("node-table", &node.addr().to_string());
        assert_eq!(row["Version"], env!("CARGO_PKG_VERSION"), "{row}");
        assert_eq!(row["Redis"], "up", "{row}");
        let latency = row["Latency"].as_str().expect("a text");
        assert!(latency.ends_with(" ms"), "{row}");
        assert!(
            cluster[0]
                .nodes()
                .iter()
                .any(|listed| listed["id"] == row["Node"])
        );
    }
    assert!(!is_hidden(&mut page, "#nodes") && is_hidden(&mut page, "#engine"));
    page.expect_clean();
}

#[test]
fn page_says_that_redis_is_away_and_goes_on_when_it_is_back() {
    let cluster = Setup::of(1).over(Redis::durable()).start();
    cluster[0].create_topic("orders");
    let mut page = Page::at(cluster[0].addr());
    page.tail("orders");
    cluster[0].publish("orders", 1, 2);
    page.await_tailed(&[2, 1]);

    cluster.redis().kill();
    page.await_text("#engine", "Redis cannot be used (");
    assert_eq!(
        page.eval("document.querySelector('#engine').dataset.state"),
        "bad"
    );
    page.await_row("node-table", &cluster[0].addr().to_string());
    let _late = cluster[0].ws();
    page.await_row("connection-table", &address_of_the_last(&cluster[0]));
    close_tail(&cluster[0]);
    page.await_text("#tail-rows .mark.error", "UNAVAILABLE");

    cluster.redis().restart();
    page.await_true("document.querySelector('#engine').hidden");
    page.await_text("#status", "live");
    page.await_text("#tail-state", "live");
    cluster.await_ready();
    cluster[0].publish("orders", 3, 3);
    page.await_tailed(&[3, 2, 1]);
    assert_eq!(page.text("#lost"), "0");
    page.expect_no_other_host();
}

/// The address of the newest WebSocket, which has no subscription.
fn address_of_the_last(node: &Node) -> String {
    let list = node.get("/connections").expect(200);
    let mut lines = list["connections"].as_array().expect("a list").iter();
    let is_it =
        |line: &&Value| line["protocol"] == "websocket" && line["subscriptions"] == json!([]);
    let line = lines
        .find(is_it)
        .expect("a WebSocket without subscriptions");
    line["address"].as_str().expect("a text").to_owned()
}

/// Closes the connection of the tail. The page reconnects.
fn close_tail(node: &Node) {
    let list = node.get("/connections").expect(200);
    let mut lines = list["connections"].as_array().expect("a list").iter();
    let id = lines.find_map(|line| {
        let client_id = line["subscriptions"][0]["client_id"].as_str()?;
        client_id.starts_with("dashboard-").then(|| &line["id"])
    });
    let id = id.expect("the connection of the tail");
    node.delete(&format!("/connections/{id}")).expect(200);
}

#[test]
fn tail_goes_on_in_a_new_epoch() {
    let cluster = Cluster::with_topic(1, "orders");
    let mut page = Page::at(cluster[0].addr());
    page.tail("orders");
    cluster[0].publish("orders", 1, 3);
    page.await_tailed(&[3, 2, 1]);
    cluster.redis().command(&["FLUSHALL"]);
    page.await_text("#tail-rows .mark.gap", "epoch changed");
    cluster.await_ready();
    cluster[0].publish("orders", 1, 2);
    page.await_tailed(&[2, 1, 3, 2, 1]);
    page.await_text("#lost-note", "in 5 events");
    assert_eq!(page.text("#lost"), "0");
    assert_eq!(
        page.eval("document.querySelectorAll('#tail-rows .error').length"),
        0
    );
}

/// A page to which the server says that it is a node whose Redis may throw events away, beside one that has lost its Redis.
const FAKE_CLUSTER: &str = r#"
    const own = window.fetch;
    const node = (id, state) => ({
        id, address: "10.0.0.5:8080\u202e", version: "0.1.0", uptime_sec: 3600, connections: 15, subscriptions: 12,
        engine: { state, latency_ms: 0.25 },
    });
    window.fetch = async (path, options) => {
        if (path === "nodes") return Response.json({ nodes: [node("a", "up"), node("b", "down")] });
        const answer = await own(path, options);
        if (path !== "health") return answer;
        return Response.json({ ...(await answer.json()), engine: "up", engine_error: "maxmemory-policy is allkeys-lru" });
    };
"#;

#[test]
fn node_that_is_down_and_a_redis_set_up_wrong_are_marked() {
    let server = TestServer::start();
    let mut page = Page::unopened(&server);
    page.run_first(FAKE_CLUSTER);
    page.open();
    page.await_text("#engine", "maxmemory-policy is allkeys-lru");
    let expected = json!({
        "Node": "b", "Address": "10.0.0.5:8080\\u{202e}", "Version": "0.1.0", "Up": "1 h 0 min", "Connections": "15",
        "Subscriptions": "12", "Redis": "down", "Latency": "0.25 ms",
    });
    assert_eq!(page.await_row("node-table", "b"), expected);
    let states = page.eval(
        "[...document.querySelectorAll('#node-table .badge')].map((badge) => badge.dataset.state)",
    );
    assert_eq!(states, json!(["up", "down"]));
    let colors: Vec<Value> = ["up", "down"]
        .map(|state| {
            format!(
                "getComputedStyle(document.querySelector('#node-table [data-state={state}]')).color"
            )
        })
        .map(|color| page.eval(&color))
        .into();
    assert_ne!(colors[0], colors[1]);
    page.expect_clean();
}
