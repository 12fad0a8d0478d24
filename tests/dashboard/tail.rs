//! The live tail: its rows, and its check for missing events.

use serde_json::{Value, json};

use crate::harness::{TestServer, eventually};
use crate::page::Page;

/// The connection of the tail.
fn tail_connection(server: &TestServer) -> Option<u64> {
    let list = server.http().get("/connections").expect(200);
    let mut lines = list["connections"].as_array().unwrap().iter();
    let is_tail = |line: &&Value| {
        let client_id = line["subscriptions"][0]["client_id"].as_str();
        client_id.is_some_and(|name| name.starts_with("dashboard-"))
    };
    lines.find(is_tail)?["id"].as_u64()
}

#[test]
fn tail_shows_the_newest_events_then_new_ones() {
    let server = TestServer::with_topic("orders");
    let mut publisher = server.ws();
    publisher.publish_many("orders", 1, 30);
    let mut page = Page::of(&server);
    page.tail("orders");
    let newest: Vec<u64> = (11..=30).rev().collect();
    page.await_tailed(&newest);
    publisher.publish("orders", &json!({"live": true}));
    page.await_text("#tail-rows .payload", r#"{"live":true}"#);
    page.await_text("#lost", "0");
    page.await_text("#lost-note", "in 21 events");
    server.delete_topic("orders");
    page.await_text("#tail-rows .mark", "topic deleted");
    page.await_text("#tail-state", "off");
    page.expect_clean();
}

#[test]
fn tail_of_a_pattern_shows_all_topics_and_resumes() {
    let server = TestServer::with_topic("shop.eu");
    let mut publisher = server.ws();
    publisher.publish_many("shop.eu", 1, 2);
    let mut page = Page::of(&server);
    page.tail("shop.*");
    page.await_tailed(&[2, 1]);
    server.create_topic("shop.us");
    publisher.publish_many("shop.us", 1, 1);
    page.await_tailed(&[1, 2, 1]);
    page.await_text("#tail-rows .topic", "shop.us");
    server.delete_topic("shop.us");
    page.await_text("#tail-rows .mark", "shop.us: topic deleted");
    page.await_text("#tail-state", "live");
    let id = tail_connection(&server).expect("the page is subscribed");
    let path = format!("/connections/{id}");
    server.http().delete(&path).expect(200);
    publisher.publish_many("shop.eu", 3, 3);
    page.await_tailed(&[3, 1, 2, 1]);
    page.await_text("#lost", "0");
    page.expect_clean();
}

#[test]
fn tail_keeps_at_most_500_events() {
    let server = TestServer::with_topic("orders");
    let mut page = Page::of(&server);
    page.tail("orders");
    server.ws().publish_many("orders", 1, 700);
    page.await_text("#tail-rows .seq", "700");
    assert_eq!(
        page.eval("document.querySelectorAll('#tail-rows li').length"),
        500
    );
    page.await_text("#lost-note", "in 700 events");
    assert_eq!(page.text("#lost"), "0");
    page.expect_clean();
}

#[test]
fn pause_holds_rows_and_filter_hides_them() {
    let server = TestServer::with_topic("orders");
    let mut publisher = server.ws();
    let mut page = Page::of(&server);
    page.tail("orders");
    for payload in ["apple", "pear"] {
        publisher.publish("orders", &json!(payload));
    }
    page.await_tailed(&[2, 1]);
    page.click("#tail-pause");
    publisher.publish("orders", &json!("apple pie"));
    page.await_text("#tail-note", "Paused, 1 waiting");
    assert_eq!(page.tailed(), [2, 1]);
    page.click("#tail-pause");
    page.await_tailed(&[3, 2, 1]);
    page.fill("#tail-filter", "APPLE");
    page.await_tailed(&[3, 1]);
    publisher.publish("orders", &json!("plum"));
    publisher.publish("orders", &json!("pineapple"));
    page.await_tailed(&[5, 3, 1]);
    page.fill("#tail-filter", "");
    page.await_tailed(&[5, 4, 3, 2, 1]);
    page.expect_clean();
}

#[test]
fn tail_resumes_after_a_lost_connection() {
    let server = TestServer::with_topic("orders");
    let mut publisher = server.ws();
    let mut page = Page::of(&server);
    page.tail("orders");
    publisher.publish_many("orders", 1, 3);
    page.await_tailed(&[3, 2, 1]);
    let id = tail_connection(&server).expect("the page tails");
    server
        .http()
        .delete(&format!("/connections/{id}"))
        .expect(200);
    publisher.publish_many("orders", 4, 6);
    page.await_tailed(&[6, 5, 4, 3, 2, 1]);
    page.await_text("#tail-rows .mark", "closed by an administrator (4101)");
    assert_eq!(page.text("#lost"), "0");
    assert!(
        page.text("#lost-note")
            .as_str()
            .unwrap()
            .contains("in 6 events")
    );
    page.expect_clean();
}

#[test]
fn evicted_events_are_marked_as_a_gap() {
    let server = TestServer::start();
    server.create_topic_with("orders", &json!({"history_size": 2, "max_queue_size": 2}));
    let mut publisher = server.ws();
    let mut page = Page::of(&server);
    page.tail("orders");
    let mut published = 0;
    // The page does not reconnect while it is busy.
    let busy = "setTimeout(() => { const end = performance.now() + 500; while (performance.now() < end); })";
    eventually("a gap is marked", || {
        if let Some(id) = tail_connection(&server) {
            page.eval(busy);
            server.http().delete(&format!("/connections/{id}"));
            publisher.publish_many("orders", published + 1, published + 10);
            published += 10;
        }
        page.text("#tail-rows .mark.gap").is_string()
    });
    let mark = page.text("#tail-rows .mark.gap");
    let mark = mark.as_str().unwrap();
    assert!(
        mark.contains("events not sent") && mark.contains("history evicted"),
        "{mark}"
    );
    page.await_text("#tail-rows .seq", &published.to_string());
    assert_eq!(page.text("#lost"), "0", "a reported gap is not a loss");
    assert_eq!(
        page.eval("document.querySelectorAll('#tail-rows .error').length"),
        0
    );
    page.expect_clean();
}

/// A page that does not receive the third event.
const LOSE_THE_THIRD: &str = r#"
    const own = Object.getOwnPropertyDescriptor(WebSocket.prototype, "onmessage");
    Object.defineProperty(WebSocket.prototype, "onmessage", {
        set(handler) {
            own.set.call(this, (message) => message.data.includes('"seq":3,') || handler(message));
        },
    });
"#;

#[test]
fn unreported_missing_event_is_an_alarm() {
    let server = TestServer::with_topic("orders");
    let mut page = Page::unopened(&server);
    page.run_first(LOSE_THE_THIRD);
    page.open();
    page.await_text("#status", "live");
    page.tail("orders");
    server.ws().publish_many("orders", 1, 5);
    page.await_tailed(&[5, 4, 2, 1]);
    page.await_text("#tail-rows .error", "NOT REPORTED: 3 to 3 are missing");
    assert_eq!(page.text("#lost"), "1");
    assert_eq!(
        page.eval("document.querySelector('#headline').dataset.state"),
        "bad"
    );
}

/// A page that receives a gap from 5 to 9 instead of the first event.
const TELL_A_LATE_GAP: &str = r#"
    const own = Object.getOwnPropertyDescriptor(WebSocket.prototype, "onmessage");
    const gap = '{"type":"info","topic":"orders","msg":"gap","gap":{"from_seq":5,"to_seq":9,"count":5,"reason":"history_evicted"},"ts":""}';
    Object.defineProperty(WebSocket.prototype, "onmessage", {
        set(handler) {
            own.set.call(this, (message) => handler(message.data.includes('"seq":1,') ? { data: gap } : message));
        },
    });
"#;

#[test]
fn gap_that_begins_too_late_is_an_alarm() {
    let server = TestServer::with_topic("orders");
    let mut page = Page::unopened(&server);
    page.run_first(TELL_A_LATE_GAP);
    page.open();
    page.await_text("#status", "live");
    page.tail("orders");
    server.ws().publish("orders", &json!(1));
    page.await_text("#tail-rows .error", "NOT REPORTED: 1 to 4 are missing");
    page.await_text("#tail-rows .gap", "5 events not sent (5 to 9)");
    assert_eq!(page.text("#lost"), "4");
}

#[test]
fn end_of_a_topic_ends_the_pause() {
    let server = TestServer::with_topic("orders");
    let mut page = Page::of(&server);
    page.tail("orders");
    page.click("#tail-pause");
    server.ws().publish("orders", &json!("last words"));
    page.await_text("#tail-note", "Paused, 1 waiting");
    server.delete_topic("orders");
    page.await_text("#tail-rows .mark", "topic deleted");
    page.await_tailed(&[1]);
    page.await_text("#tail-pause", "Pause");
    page.expect_clean();
}

#[test]
fn filtered_rows_are_kept_while_others_pass() {
    let server = TestServer::with_topic("orders");
    let mut page = Page::of(&server);
    page.tail("orders");
    page.fill("#tail-filter", "needle");
    let mut publisher = server.ws();
    publisher.publish("orders", &json!("needle"));
    page.await_tailed(&[1]);
    publisher.publish_many("orders", 2, 700);
    page.await_text("#lost-note", "in 700 events");
    assert_eq!(page.tailed(), [1]);
    page.expect_clean();
}

#[test]
fn large_event_is_truncated() {
    let server = TestServer::with_topic("orders");
    let mut page = Page::of(&server);
    page.tail("orders");
    let mut publisher = server.ws();
    publisher.publish("orders", &json!("p".repeat(1 << 19)));
    publisher.publish("orders", &json!(2));
    page.await_tailed(&[2, 1]);
    page.await_text("#tail-rows", "… (524,290 characters)");
    let height = page.eval("document.querySelector('#tail-rows li:last-child').offsetHeight");
    assert!(height.as_u64().unwrap() < 200, "{height}");
    page.expect_clean();
}
