//! `/connections`: listing connections, and closing one of them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    Dial, HttpClient, SequenceChecker, TestServer, TextFile, WsClient, entry, eventually,
};

/// The entry of the connection with this client id.
fn line_of(http: &mut HttpClient, client_id: &str) -> Option<Value> {
    let list = http.get("/connections").expect(200);
    let mut lines = list["connections"].as_array().unwrap().iter();
    lines
        .find(|line| line["subscriptions"][0]["client_id"] == client_id)
        .cloned()
}

fn is_listed(http: &mut HttpClient, id: u64) -> bool {
    let list = http.get("/connections").expect(200);
    let mut lines = list["connections"].as_array().unwrap().iter();
    lines.any(|line| line["id"] == id)
}

fn id_of(http: &mut HttpClient, client_id: &str) -> u64 {
    let line = line_of(http, client_id).expect("it is connected");
    line["id"].as_u64().unwrap()
}

fn close(http: &mut HttpClient, id: u64) -> Value {
    http.delete(&format!("/connections/{id}")).expect(200)
}

fn subscribed(server: &TestServer, client_id: &str) -> WsClient {
    let mut client = server.ws();
    client.subscribe("orders", client_id);
    client
}

#[test]
fn connections_are_listed_by_id_with_all_their_subscriptions() {
    let server = TestServer::with_topic("orders");
    server.create_topic("alerts");
    let mut client = subscribed(&server, "s1");
    client.subscribe("orders", "s0");
    client.subscribe("alerts", "s2");
    let mut http = server.http();
    let mut list = Value::Null;
    eventually("the connections that created the topics have ended", || {
        list = http.get("/connections").expect(200);
        list["total"] == 2
    });
    let [websocket, rest] = &list["connections"].as_array().unwrap()[..] else {
        panic!("{list}")
    };
    let subscription = |topic: &str, client_id: &str| json!({"topic": topic, "client_id": client_id, "lag": 0, "dropped": 0});
    assert_eq!(websocket["protocol"], "websocket", "{list}");
    assert_eq!(
        websocket["subscriptions"],
        json!([
            subscription("alerts", "s2"),
            subscription("orders", "s0"),
            subscription("orders", "s1")
        ])
    );
    assert_eq!(rest["protocol"], "http", "{list}");
    assert_eq!(rest["subscriptions"], json!([]), "{list}");
    assert!(websocket["id"].as_u64() < rest["id"].as_u64(), "{list}");
    for line in [websocket, rest] {
        let address = line["address"].as_str().unwrap();
        assert!(address.starts_with("127.0.0.1:"), "{line}");
        assert_eq!(line["pending_bytes"], 0, "{line}");
        assert!(line["uptime_sec"].is_u64() && line["idle_sec"].is_u64());
        assert_eq!(line.get("key"), None, "{line}");
    }
}

#[test]
fn limit_truncates_the_list_but_not_the_total() {
    let server = TestServer::start();
    let _clients: Vec<_> = (0..3).map(|_| server.ws()).collect();
    let mut http = server.http();
    let ids = |list: &Value| -> Vec<u64> {
        let lines = list["connections"].as_array().unwrap().iter();
        lines.map(|line| line["id"].as_u64().unwrap()).collect()
    };
    let all = http.get("/connections").expect(200);
    let two = http.get("/connections?limit=2").expect(200);
    assert_eq!((&all["total"], &two["total"]), (&json!(4), &json!(4)));
    assert!(ids(&all).is_sorted());
    assert_eq!(ids(&two), ids(&all)[..2]);
    http.get("/connections?limit=x")
        .expect_problem(422, "VALIDATION_ERROR");
}

#[test]
fn key_of_a_connection_is_listed_by_name() {
    let keys = entry("boss", "boss-secret", "admin = true") + &entry("guest", "guest-secret", "");
    let file = TextFile::new(&keys);
    let server = TestServer::with(|config| config.keys_file = Some(file.path().to_owned()));
    let _client = Dial::to(server.addr())
        .field("X-API-Key", "guest-secret")
        .connect();
    let fields = [("X-API-Key", "boss-secret")];
    let list = server.http().request("GET", "/connections", &fields, "");
    let list = list.expect(200);
    assert_eq!(list["connections"][0]["key"], "guest", "{list}");
    assert_eq!(list["connections"][1]["key"], "boss", "{list}");
    assert!(!list.to_string().contains("secret"), "{list}");
}

#[test]
fn idle_is_the_time_since_the_last_input() {
    let server = TestServer::with_topic("orders");
    let mut client = subscribed(&server, "s1");
    let mut http = server.http();
    let mut times = || {
        let line = line_of(&mut http, "s1").unwrap();
        (line["idle_sec"].as_u64(), line["uptime_sec"].as_u64())
    };
    eventually("a silent client is idle", || times().0 >= Some(1));
    eventually("a client that sends is not", || {
        client.fence();
        let (idle, uptime) = times();
        idle == Some(0) && uptime >= Some(1)
    });
}

#[test]
fn unread_events_show_as_pending_lag_and_dropped() {
    let server = TestServer::with(|config| config.send_buffer_bytes = 4 << 10);
    server.create_topic_with("orders", &json!({"max_queue_size": 10}));
    let mut client = server.small_buffer_ws();
    client.subscribe("orders", "s1");
    let mut publisher = server.ws();
    let mut http = server.http();
    let mut published = 0;
    eventually("the socket's buffers are full", || {
        publisher.publish_padded("orders", published + 1, published + 20, 8 << 10);
        published += 20;
        let line = line_of(&mut http, "s1").unwrap();
        let lag = line["subscriptions"][0]["lag"].as_u64();
        lag > Some(10) && line["pending_bytes"].as_u64() > Some(0)
    });
    let mut checker = SequenceChecker::starting_after("orders", 0);
    checker.read_until(&mut client, published);
    let skipped = checker.skipped;
    assert!(skipped > 0);
    eventually("dropped events are counted here too", || {
        let line = line_of(&mut http, "s1").unwrap();
        let subscription = &line["subscriptions"][0];
        subscription["dropped"] == skipped && subscription["lag"] == 0 && line["pending_bytes"] == 0
    });
    assert_eq!(server.topic("orders")["dropped"], skipped);
}

#[test]
fn delivered_counts_events_sent_to_departed_clients_too() {
    let server = TestServer::with_topic("orders");
    let (mut leaves, mut stays) = (subscribed(&server, "leaves"), subscribed(&server, "stays"));
    let mut publisher = server.ws();
    publisher.publish_many("orders", 1, 5);
    for client in [&mut leaves, &mut stays] {
        (0..5).for_each(|_| drop(client.next_event()));
    }
    // A client may receive an event before it is counted.
    eventually("all are counted", || server.health()["delivered"] == 10);
    let mut http = server.http();
    let id = id_of(&mut http, "leaves");
    leaves.close();
    eventually("the client has left", || !is_listed(&mut http, id));
    publisher.publish("orders", &json!(1));
    stays.next_event();
    eventually("one more is counted", || server.health()["delivered"] == 11);
}

#[test]
fn closed_websocket_gets_4101_and_no_other_connection_is_affected() {
    let server = TestServer::with_topic("orders");
    let (mut target, mut other) = (subscribed(&server, "target"), subscribed(&server, "other"));
    let mut http = server.http();
    let id = id_of(&mut http, "target");
    let closed = close(&mut http, id);
    assert_eq!(closed, json!({"status": "closed", "connection": id}));
    assert_eq!(server.topic("orders")["subscribers"], 1);
    assert_eq!(target.close_code(), Some(4101));
    target.expect_end();
    assert!(other.fence().is_empty());
    eventually("the connection is no longer listed", || {
        !is_listed(&mut http, id)
    });
    let detail = http
        .delete(&format!("/connections/{id}"))
        .expect_problem(404, "CONNECTION_NOT_FOUND");
    assert_eq!(detail, format!("Connection '{id}' not found"));
}

#[test]
fn close_frame_comes_after_events_being_sent() {
    let server = TestServer::with(|config| config.send_buffer_bytes = 4 << 10);
    server.create_topic("orders");
    let mut target = server.small_buffer_ws();
    target.subscribe("orders", "target");
    server.ws().publish_padded("orders", 1, 40, 8 << 10);
    let mut http = server.http();
    let id = id_of(&mut http, "target");
    close(&mut http, id);
    assert_eq!(target.close_code(), Some(4101));
}

#[test]
fn client_that_reads_nothing_can_be_closed() {
    let server = TestServer::with(|config| {
        config.send_buffer_bytes = 4 << 10;
        config.write_timeout = Duration::from_millis(200);
    });
    server.create_topic_with(
        "orders",
        &json!({"history_size": 1000, "max_queue_size": 1000}),
    );
    let mut target = server.small_buffer_ws();
    target.subscribe("orders", "target");
    let mut http = server.http();
    let id = id_of(&mut http, "target");
    server.ws().publish_padded("orders", 1, 200, 8 << 10);
    // The write timeout may have ended it already.
    let closed = http.delete(&format!("/connections/{id}")).status;
    assert!(matches!(closed, 200 | 404), "{closed}");
    eventually("the connection is no longer listed", || {
        !is_listed(&mut http, id)
    });
}

#[test]
fn closed_http_connection_ends() {
    let server = TestServer::start();
    let mut idle = server.http();
    idle.get("/livez").expect(200);
    let mut http = server.http();
    let list = http.get("/connections").expect(200);
    let id = list["connections"][0]["id"].as_u64().unwrap();
    close(&mut http, id);
    idle.expect_end();
    http.get("/livez").expect(200);
}

#[test]
fn connection_may_close_itself_and_gets_the_response() {
    let server = TestServer::start();
    let mut http = server.http();
    let list = http.get("/connections").expect(200);
    let id = list["connections"][0]["id"].as_u64().unwrap();
    let reply = http.delete(&format!("/connections/{id}"));
    assert_eq!(reply.expect(200)["connection"], id);
    assert_eq!(reply.header("Connection"), Some("close"));
    http.expect_end();
}

#[test]
fn request_pipelined_behind_its_own_close_is_not_answered() {
    let server = TestServer::start();
    let mut http = server.http();
    let list = http.get("/connections").expect(200);
    let id = list["connections"][0]["id"].as_u64().unwrap();
    let host = "HTTP/1.1\r\nHost: a\r\n\r\n";
    http.send_raw(format!("DELETE /connections/{id} {host}GET /livez {host}").as_bytes());
    http.read_reply().expect(200);
    http.expect_end();
}
