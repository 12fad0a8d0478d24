//! `examples/events.html` in a browser: an `EventSource` that reconnects with `Last-Event-ID`, sees gaps, and ends.

use serde_json::{Value, json};

use crate::harness::{TestServer, eventually};
use crate::page::Page;

const EXAMPLE: &str = include_str!("../../examples/events.html");

/// The example, as if the server had sent it.
fn example(server: &TestServer) -> Page {
    let mut page = Page::unopened(server);
    page.open_path("/livez");
    page.write(EXAMPLE);
    page.await_text("#state", "live");
    page
}

fn stream_connection(server: &TestServer) -> Option<u64> {
    let list = server.http().get("/connections").expect(200);
    let mut lines = list["connections"].as_array().unwrap().iter();
    lines.find(|line| line["protocol"] == "sse")?["id"].as_u64()
}

fn cut(server: &TestServer) {
    let id = stream_connection(server).expect("a stream");
    server
        .http()
        .delete(&format!("/connections/{id}"))
        .expect(200);
    eventually("the cut", || stream_connection(server) != Some(id));
}

/// The first number of each row, newest first.
fn await_rows(page: &mut Page, expected: &[u64]) {
    let rows = "[...document.querySelectorAll('#rows li:not(.gap)')].map(row => parseInt(row.textContent))";
    let mut last = Value::Null;
    let what = format!("rows {expected:?}");
    eventually(&what, || {
        last = page.eval(rows);
        last == json!(expected)
    });
}

#[test]
fn event_source_comes_back_behind_the_last_event() {
    let server = TestServer::with_topic("orders");
    let mut publisher = server.ws();
    publisher.publish_many("orders", 1, 3);
    let mut page = example(&server);
    await_rows(&mut page, &[3, 2, 1]);
    for round in 0..2 {
        cut(&server);
        let first = 4 + round * 2;
        publisher.publish_many("orders", first, first + 1);
        let expected: Vec<u64> = (1..=first + 1).rev().collect();
        await_rows(&mut page, &expected);
    }
    assert_eq!(page.text("#missed"), "0");
}

#[test]
fn event_source_sees_a_gap_and_goes_on() {
    let server = TestServer::start();
    let options = json!({"history_size": 2, "max_queue_size": 1});
    server.create_topic_with("orders", &options);
    let mut publisher = server.ws();
    let mut page = example(&server);
    publisher.publish_many("orders", 1, 1);
    await_rows(&mut page, &[1]);
    cut(&server);
    publisher.publish_many("orders", 2, 9);
    await_rows(&mut page, &[9, 8, 1]);
    assert_eq!(page.text("#rows .gap"), "missed 2 to 7");
    assert_eq!(page.text("#missed"), "6");
}

#[test]
fn event_source_learns_of_the_end_and_is_not_back_at_once() {
    let server = TestServer::with_topic("orders");
    let mut page = example(&server);
    server.delete_topic("orders");
    page.await_text("#state", "reconnecting");
    server.create_topic("orders");
    assert_eq!(stream_connection(&server), None, "it waits half a minute");
    // A page that is opened now does not wait.
    let mut page = example(&server);
    server.ws().publish("orders", &json!({"line": "breaks"}));
    page.await_text("#rows", r#"1 {"line":"breaks"}"#);
}
