//! `GET /topics/{name}/subscribers`: who is subscribed to a topic, and since when.

use serde_json::{Value, json};

use crate::harness::{
    Reply, StreamClient, TestServer, TextFile, WsClient, assert_timestamp, entry, eventually,
};

fn subscribed(server: &TestServer, client_id: &str) -> WsClient {
    let mut client = server.ws();
    client.subscribe("orders", client_id);
    client
}

/// The response for the topic `orders` with this query.
fn list(server: &TestServer, query: &str) -> Value {
    let path = format!("/topics/orders/subscribers{query}");
    server.http().get(&path).expect(200)
}

fn ids(list: &Value) -> Vec<&str> {
    let subscribers = list["subscribers"].as_array().expect("a list").iter();
    subscribers
        .map(|subscriber| subscriber["client_id"].as_str().expect("a client id"))
        .collect()
}

/// When the only subscription began.
fn since(server: &TestServer) -> String {
    let list = list(server, "");
    assert_eq!(list["total"], 1, "{list}");
    let since = &list["subscribers"][0]["since"];
    since.as_str().expect("a timestamp").to_owned()
}

/// Waits until these are the subscribers.
fn await_ids(server: &TestServer, expected: &[&str]) {
    let mut last = Value::Null;
    eventually(&format!("subscribers {expected:?}"), || {
        last = list(server, "");
        assert_eq!(last["total"], ids(&last).len(), "{last}");
        ids(&last) == expected
    });
}

#[test]
fn subscribers_are_listed_by_client_id_with_the_time_they_came() {
    let server = TestServer::with_topic("orders");
    server.create_topic("returns");
    assert_eq!(
        list(&server, ""),
        json!({"topic": "orders", "total": 0, "subscribers": []})
    );
    let mut client = server.ws();
    let first = client.subscribe("orders", "s2");
    let second = client.subscribe("orders", "ä \"\u{7}\"");
    client.subscribe("returns", "s9");
    let _other = subscribed(&server, "S1");
    let list = list(&server, "");
    assert_eq!(ids(&list), ["S1", "s2", "ä \"\u{7}\""]);
    assert_eq!(
        (&list["topic"], &list["total"]),
        (&json!("orders"), &json!(3))
    );
    let since = |at: usize| {
        let since = &list["subscribers"][at]["since"];
        assert_timestamp(since);
        since.as_str().expect("a timestamp")
    };
    let ts = |ack: &Value| ack["ts"].as_str().expect("a timestamp").to_owned();
    let (first, second) = (ts(&first), ts(&second));
    assert!(*since(1) <= *first, "{list}: before its ack at {first}");
    assert!(
        *first <= *since(2) && *since(2) <= *second,
        "{list}: between {first} and {second}"
    );
    assert!(*second <= *since(0), "{list}: after {second}");
}

#[test]
fn limit_truncates_the_list_but_not_the_total() {
    let server = TestServer::with(|config| config.max_subscriptions = 2000);
    server.create_topic("orders");
    let mut client = server.ws();
    // Not in the order of the list.
    let id = |n: usize| format!("s{:04}", n * 701 % 1200);
    for n in 0..1200 {
        client.subscribe("orders", &id(n));
    }
    for (query, count) in [
        ("", 1000),
        ("?limit=1", 1),
        ("?limit=17", 17),
        ("?limit=1199", 1199),
        ("?limit=1200", 1200),
        ("?limit=100000", 1200),
    ] {
        let list = list(&server, query);
        let expected: Vec<_> = (0..count).map(|n| format!("s{n:04}")).collect();
        assert_eq!(ids(&list), expected, "{query}");
        assert_eq!(list["total"], 1200, "{query}");
    }
}

#[test]
fn wrong_limit_is_refused_with_422() {
    let server = TestServer::with_topic("orders");
    for (query, detail) in [
        ("limit=0", "limit must be an integer from 1 to 100000"),
        ("limit=100001", "limit must be an integer from 1 to 100000"),
        ("limit=x", "limit must be an integer from 1 to 100000"),
        ("limit=1&limit=1", "query parameter 'limit' appears twice"),
        ("after=s1", "unknown query parameter 'after'"),
    ] {
        let path = format!("/topics/orders/subscribers?{query}");
        let problem = server.http().get(&path);
        assert_eq!(problem.expect_problem(422, "VALIDATION_ERROR"), detail);
    }
}

#[test]
fn topic_that_does_not_exist_has_no_subscribers() {
    let server = TestServer::with(|config| config.auto_create_topics = true);
    server.create_topic("orders");
    let mut client = subscribed(&server, "c");
    for name in ["absent", "ord*", "%2A", "a%20b"] {
        let path = format!("/topics/{name}/subscribers");
        let reply = server.http().get(&path);
        reply.expect_problem(404, "TOPIC_NOT_FOUND");
        assert_eq!(server.http().request("HEAD", &path, &[], "").status, 404);
    }
    server.delete_topic("orders");
    let path = "/topics/orders/subscribers";
    server
        .http()
        .get(path)
        .expect_problem(404, "TOPIC_NOT_FOUND");
    client.next_info("topic_deleted");
    server.create_topic("orders");
    assert_eq!(list(&server, "")["total"], 0);
}

#[test]
fn only_get_and_head_are_allowed() {
    let server = TestServer::with_topic("orders");
    let _client = subscribed(&server, "c");
    let path = "/topics/orders/subscribers";
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let reply = server.http().request(method, path, &[], "");
        reply.expect_problem(405, "METHOD_NOT_ALLOWED");
        assert_eq!(
            reply.header("Allow"),
            Some("GET, HEAD, OPTIONS"),
            "{method}"
        );
    }
    let mut http = server.http();
    let length = |reply: &Reply| reply.header("Content-Length").map(str::to_owned);
    let got = http.get(path);
    let head = http.request("HEAD", path, &[], "");
    assert_eq!((head.status, length(&head)), (200, length(&got)));
    assert!(head.body.is_empty());
}

#[test]
fn right_to_subscribe_to_the_topic_is_needed() {
    let keys = TextFile::new(&format!(
        "{}{}{}{}",
        entry("admin", "admin-secret", "admin = true"),
        entry("reader", "reader-secret", r#"subscribe = ["ord*"]"#),
        entry("other", "other-secret", r#"subscribe = ["returns"]"#),
        entry("writer", "writer-secret", r#"publish = ["*"]"#),
    ));
    let server = TestServer::with(|config| config.keys_file = Some(keys.path().to_owned()));
    let ask = |secret: &str, path: &str| {
        let fields = [("X-API-Key", secret)];
        server.http().request("GET", path, &fields, "")
    };
    let create = [("X-API-Key", "admin-secret")];
    let body = r#"{"name":"orders"}"#;
    server
        .http()
        .request("POST", "/topics", &create, body)
        .expect(201);
    let path = "/topics/orders/subscribers";
    assert_eq!(ask("reader-secret", path).expect(200)["total"], 0);
    for (query, status) in [("", 403), ("?limit=0", 403), ("?limit=x", 403)] {
        for secret in ["other-secret", "writer-secret"] {
            let reply = ask(secret, &format!("{path}{query}"));
            reply.expect_problem(status, "FORBIDDEN");
        }
    }
    ask("other-secret", "/topics/absent/subscribers").expect_problem(403, "FORBIDDEN");
    ask("reader-secret", "/topics/ordinary/subscribers").expect_problem(404, "TOPIC_NOT_FOUND");
    ask("wrong", path).expect_problem(401, "UNAUTHORIZED");
    server.http().get(path).expect_problem(401, "UNAUTHORIZED");
}

#[test]
fn patterns_and_event_streams_are_subscribers_too() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    client.subscribe("ord*", "by-pattern");
    client.next_info("subscribed");
    let mut stream = server.stream("orders", "?client_id=by-stream");
    stream.expect("ack");
    let _by_name = subscribed(&server, "by-name");
    await_ids(&server, &["by-name", "by-pattern", "by-stream"]);
    client.unsubscribe("ord*", "by-pattern");
    await_ids(&server, &["by-name", "by-stream"]);
    StreamClient::reset(stream);
    await_ids(&server, &["by-name"]);
}

#[test]
fn takeover_begins_a_new_subscription() {
    let server = TestServer::with_topic("orders");
    let mut older = server.ws();
    let ack = older.subscribe("orders", "c");
    let before = since(&server);
    assert_eq!(since(&server), before, "it stays");
    let mut newer = subscribed(&server, "c");
    let taken_over = since(&server);
    assert!(before < taken_over, "{before} {taken_over}");
    assert!(ack["ts"].as_str() < Some(&taken_over), "{ack} {taken_over}");
    older.next_info("subscription_replaced");
    older.reset();
    server.await_subscribers("orders", 1);
    assert_eq!(
        since(&server),
        taken_over,
        "the older one ended only itself"
    );
    newer.subscribe("orders", "c");
    assert!(taken_over < since(&server), "on its own connection, too");
}

#[test]
fn whoever_leaves_or_is_cut_is_listed_no_more() {
    let server = TestServer::with_topic("orders");
    let mut leaves = subscribed(&server, "leaves");
    let is_cut = subscribed(&server, "is-cut");
    let closes = subscribed(&server, "closes");
    let _stays = subscribed(&server, "stays");
    await_ids(&server, &["closes", "is-cut", "leaves", "stays"]);
    leaves.unsubscribe("orders", "leaves");
    await_ids(&server, &["closes", "is-cut", "stays"]);
    is_cut.reset();
    await_ids(&server, &["closes", "stays"]);
    closes.close();
    await_ids(&server, &["stays"]);
}
