//! REST operations on topics and on the server as a whole.

use serde_json::{Value, json};

use crate::harness::{TestServer, epoch_of};

#[test]
fn creating_a_topic_answers_201() {
    let server = TestServer::start();
    let created = server
        .http()
        .post("/topics", &json!({"name": "orders"}))
        .expect(201);
    assert_eq!(created, json!({"status": "created", "topic": "orders"}));
    server.ws().subscribe("orders", "c");
}

#[test]
fn creating_a_topic_again_answers_409() {
    let server = TestServer::with_topic("orders");
    let reply = server.http().post("/topics", &json!({"name": "orders"}));
    let detail = reply.expect_problem(409, "TOPIC_EXISTS");
    assert_eq!(detail, "Topic 'orders' already exists");
    assert_eq!(reply.json()["title"], "Conflict");
}

#[test]
fn topic_may_be_created_with_its_own_options() {
    let server = TestServer::start();
    for overflow in ["drop_oldest", "disconnect", "block"] {
        let options = json!({"history_size": 7, "max_queue_size": 9, "overflow": overflow});
        server.create_topic_with(overflow, &options);
        let topic = server.topic(overflow);
        assert_eq!(topic["overflow"], overflow);
        assert_eq!(topic["limits"]["history_size"], 7, "{topic}");
        assert_eq!(topic["limits"]["max_queue_size"], 9, "{topic}");
    }
}

#[test]
fn invalid_topic_is_answered_422() {
    let server = TestServer::start();
    let mut http = server.http();
    for body in [
        json!({}),
        json!({"name": null}),
        json!({"name": ""}),
        json!({"name": 5}),
        json!({"name": "-a"}),
        json!({"name": "a b"}),
        json!({"name": "n".repeat(129)}),
        json!({"name": "a", "history_size": -1}),
        json!({"name": "a", "history_size": "7"}),
        json!({"name": "a", "max_queue_size": 0}),
        json!({"name": "a", "max_queue_size": 1.5}),
        json!({"name": "a", "overflow": "explode"}),
        json!({"name": "a", "overflow": 5}),
        json!(["a"]),
        json!("a"),
        json!(null),
    ] {
        http.post("/topics", &body)
            .expect_problem(422, "VALIDATION_ERROR");
    }
    for body in [
        "",
        "{",
        "name=orders",
        "{\"name\":\"a\"} x",
        "{\"name\":\"a\",\"name\":\"b\"}",
    ] {
        http.post_text("/topics", body)
            .expect_problem(422, "VALIDATION_ERROR");
    }
    assert_eq!(http.get("/topics").expect(200), json!({"topics": []}));
}

#[test]
fn deleting_a_topic_answers_200_and_again_404() {
    let server = TestServer::with_topic("orders");
    let mut http = server.http();
    let deleted = http.delete("/topics/orders").expect(200);
    assert_eq!(deleted, json!({"status": "deleted", "topic": "orders"}));
    let detail = http
        .delete("/topics/orders")
        .expect_problem(404, "TOPIC_NOT_FOUND");
    assert_eq!(detail, "Topic 'orders' not found");
}

#[test]
fn topics_are_listed_by_name_with_their_subscribers() {
    let server = TestServer::start();
    for topic in ["b", "a", "c"] {
        server.create_topic(topic);
    }
    let mut client = server.ws();
    client.subscribe("b", "one");
    client.subscribe("b", "two");
    let listed = server.http().get("/topics").expect(200);
    let row = |name: &str, subscribers: u64| json!({"name": name, "subscribers": subscribers});
    assert_eq!(
        listed,
        json!({"topics": [row("a", 0), row("b", 2), row("c", 0)]})
    );
}

#[test]
fn topic_shows_its_state_history_and_limits() {
    let server = TestServer::with(|config| config.history_size = 3);
    server.create_topic("orders");
    let mut client = server.ws();
    let ack = client.subscribe("orders", "c");
    client.publish_many("orders", 1, 5);
    let topic = server.topic("orders");
    for (field, value) in [
        ("name", json!("orders")),
        ("subscribers", json!(1)),
        ("messages", json!(5)),
    ] {
        assert_eq!(topic[field], value, "{topic}");
    }
    assert_eq!(topic["seq"], 5);
    assert_eq!(topic["dropped"], 0);
    assert_eq!(topic["overflow"], "drop_oldest");
    assert_eq!(epoch_of(&topic), epoch_of(&ack));
    assert_eq!(topic["history"]["count"], 3);
    assert_eq!(topic["history"]["first_seq"], 3);
    assert!(topic["history"]["bytes"].as_u64().unwrap() > 0);
    assert!(topic["limits"].is_object());
}

#[test]
fn unknown_topic_is_answered_404() {
    let server = TestServer::start();
    let mut http = server.http();
    for path in ["/topics/x", "/topics/x/messages"] {
        let detail = http.get(path).expect_problem(404, "TOPIC_NOT_FOUND");
        assert_eq!(detail, "Topic 'x' not found");
    }
}

#[test]
fn health_counts_topics_and_subscriptions() {
    let server = TestServer::with_topic("orders");
    server.create_topic("returns");
    let mut client = server.ws();
    client.subscribe("orders", "a");
    client.subscribe("orders", "b");
    client.subscribe("returns", "a");
    let health = server.health();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["topics"], 2);
    assert_eq!(health["subscribers"], 3);
    assert!(health["uptime_sec"].as_u64().is_some(), "{health}");
}

#[test]
fn health_names_the_instance_which_changes_with_each_start() {
    let instance = |server: &TestServer| {
        let instance = server.health()["instance"].clone();
        instance.as_str().expect("a string").to_owned()
    };
    let server = TestServer::start();
    let (first, port) = (instance(&server), server.addr().port());
    assert_eq!(instance(&server), first);
    server.shutdown();
    let server = TestServer::with(|config| config.port = port);
    assert_ne!(instance(&server), first);
}

#[test]
fn every_response_forbids_sniffing_and_storing() {
    let server = TestServer::with(|config| config.max_message_bytes = 1000);
    for (request, status) in [
        ("GET /topics HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("HEAD /topics HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("GET /topics HTTP/1.1\r\n\r\n", 400),
        ("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("PUT /topics HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (
            "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n",
            413,
        ),
        ("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", 426),
        ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    ] {
        let mut http = server.http();
        http.send_raw(request.as_bytes());
        http.finish_sending();
        let response = http.read_to_end();
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{response}"
        );
        let count = |field: &str| response.matches(&format!("\r\n{field}\r\n")).count();
        assert_eq!(count("X-Content-Type-Options: nosniff"), 1, "{request:?}");
        assert_eq!(
            response.matches("\r\nCache-Control: ").count(),
            1,
            "{request:?}"
        );
        let stored = usize::from(request.starts_with("GET / HTTP/1.1"));
        assert_eq!(count("Cache-Control: no-store"), 1 - stored, "{request:?}");
    }
}

#[test]
fn stats_count_publishes_since_the_topic_was_created() {
    let server = TestServer::with(|config| config.history_size = 2);
    server.create_topic("orders");
    server.create_topic("idle");
    let mut client = server.ws();
    client.subscribe("orders", "c");
    client.publish_many("orders", 1, 5);
    let count = |topic: &str, field: &str| -> Value {
        server.http().get("/stats").expect(200)["topics"][topic][field].clone()
    };
    assert_eq!(count("orders", "messages"), 5);
    assert_eq!(count("orders", "subscribers"), 1);
    assert_eq!(count("idle", "messages"), 0);
    server.delete_topic("orders");
    server.create_topic("orders");
    assert_eq!(count("orders", "messages"), 0);
}

#[test]
fn empty_server_has_empty_lists() {
    let server = TestServer::start();
    let mut http = server.http();
    assert_eq!(http.get("/topics").expect(200), json!({"topics": []}));
    assert_eq!(http.get("/stats").expect(200)["topics"], json!({}));
}

#[test]
fn config_of_an_embedded_server_names_the_source_of_each_value() {
    let server = TestServer::with(|config| config.history_size = 7);
    let shown = server.http().get("/config").expect(200);
    let setting = |name: &str| {
        let mut settings = shown["settings"].as_array().unwrap().iter();
        settings.find(|setting| setting["name"] == name).unwrap()
    };
    let chosen = json!({"name": "PUBSUB_HISTORY_SIZE", "flag": "--history-size", "value": 7, "default": 100, "source": "program"});
    assert_eq!(setting("PUBSUB_HISTORY_SIZE"), &chosen);
    assert_eq!(setting("PUBSUB_HOST")["source"], "default");
    let cap = setting("PUBSUB_MAX_CONNECTIONS");
    assert_eq!(cap["source"], "computed", "{cap}");
    assert!(cap["value"].as_u64() >= Some(1), "{cap}");
    assert_eq!(cap.get("default"), None, "{cap}");
}

#[test]
fn livez_and_readyz_answer_200() {
    let server = TestServer::start();
    let mut http = server.http();
    for path in ["/livez", "/readyz"] {
        assert_eq!(http.get(path).status, 200, "{path}");
    }
}

#[test]
fn head_works_where_get_does_with_the_same_length() {
    let server = TestServer::with_topic("orders");
    let mut http = server.http();
    for path in [
        "/topics",
        "/topics/orders",
        "/topics/orders/messages",
        "/config",
        "/stats",
        "/livez",
        "/readyz",
    ] {
        let got = http.get(path);
        let head = http.request("HEAD", path, &[], "");
        assert_eq!(head.status, 200, "{path}");
        assert_eq!(
            head.header("Content-Type"),
            got.header("Content-Type"),
            "{path}"
        );
        assert_eq!(
            head.header("Content-Length"),
            got.header("Content-Length"),
            "{path}"
        );
    }
    assert_eq!(http.request("HEAD", "/topics/x", &[], "").status, 404);
    http.get("/health").expect(200);
}

#[test]
fn names_in_paths_are_decoded_exactly_once() {
    let server = TestServer::with_topic("or.de_rs:1-a");
    let mut http = server.http();
    for path in [
        "/topics/or.de_rs:1-a",
        "/topics/%6f%72.de_rs%3A1%2da",
        "/%74opics/or.de_rs:1-a",
    ] {
        assert_eq!(http.get(path).expect(200)["name"], "or.de_rs:1-a", "{path}");
    }
    assert_eq!(http.get("/topics/%256fr.de_rs:1-a").status, 404);
}

#[test]
fn concurrent_clients_are_all_answered() {
    let server = TestServer::with(|config| config.rest_workers = 2);
    server.create_topic("orders");
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let mut http = server.http();
                for _ in 0..10 {
                    http.post("/topics/orders/messages", &json!({"payload": 1}))
                        .expect(201);
                }
            });
        }
    });
    assert_eq!(server.topic("orders")["messages"], 200);
}
