//! What the page shows of the server, and that it stays up to date.

use serde_json::json;

use crate::harness::{TestServer, eventually};
use crate::page::Page;

#[test]
fn page_shows_topics_connections_and_settings_without_errors() {
    let server = TestServer::with(|config| config.history_size = 7);
    server.create_topic_with("orders", &json!({"overflow": "block"}));
    let mut client = server.ws();
    client.subscribe("orders", "s1");
    client.publish_many("orders", 1, 3);
    let mut page = Page::of(&server);
    let topic = page.await_row("topic-table", "orders");
    for (column, text) in [
        ("Subscribers", "1"),
        ("Head", "3"),
        ("History", "3"),
        ("Policy", "block"),
        ("Dropped", "0"),
    ] {
        assert_eq!(topic[column], text, "{topic}");
    }
    let connection = page.await_row("connection-table", "s1");
    assert_eq!(connection["Kind"], "websocket", "{connection}");
    assert_eq!(connection["Topics"], "orders", "{connection}");
    page.click("#settings summary");
    let setting = page.await_row("settings-table", "PUBSUB_HISTORY_SIZE");
    let expected = json!({"Setting": "PUBSUB_HISTORY_SIZE", "Value": "7", "Default": "100", "From": "program"});
    assert_eq!(setting, expected);
    page.await_text("#topic-total", "1");
    assert_eq!(
        page.text("#lost"),
        "–",
        "nothing is shown before it is checked"
    );
    page.expect_clean();
}

#[test]
fn page_updates_by_itself() {
    let server = TestServer::with_topic("orders");
    let mut page = Page::of(&server);
    page.await_row("topic-table", "orders");
    let mut client = server.ws();
    client.subscribe("orders", "s1");
    let mut published = 0;
    eventually("the head and the rates rise", || {
        client.publish_many("orders", published + 1, published + 20);
        published += 20;
        let topic = page.topic("orders");
        let rises =
            |text: &serde_json::Value| text.as_str().is_some_and(|text| text != "0" && text != "–");
        rises(&topic["Head"])
            && rises(&topic["Rate /s"])
            && rises(&page.text("#in-rate"))
            && rises(&page.text("#out-rate"))
    });
    page.await_true("document.querySelector('#in-spark .curve').getAttribute('d').includes('L')");
    // The latter two are property names of JavaScript objects.
    for topic in ["later", "constructor", "__proto__"] {
        server.create_topic(topic);
        page.await_row("topic-table", topic);
    }
    drop(client);
    page.await_true("![...document.querySelectorAll('#connection-table td')].some((cell) => cell.textContent === 's1')");
    page.expect_clean();
}

#[test]
fn skipped_events_are_shown_as_reported() {
    let server = TestServer::with(|config| config.send_buffer_bytes = 4 << 10);
    server.create_topic_with("orders", &json!({"max_queue_size": 5}));
    let mut slow = server.small_buffer_ws();
    slow.subscribe("orders", "slow");
    let mut page = Page::of(&server);
    let mut publisher = server.ws();
    publisher.publish_padded("orders", 1, 100, 8 << 10);
    crate::harness::SequenceChecker::starting_after("orders", 0).read_until(&mut slow, 100);
    let dropped = server.topic("orders")["dropped"].to_string();
    assert_ne!(dropped, "0");
    page.await_text("#gaps", &dropped);
    page.expect_clean();
}

#[test]
fn page_reports_a_lost_server_and_reconnects() {
    let server = TestServer::with_topic("orders");
    let (addr, mut publisher) = (server.addr(), server.ws());
    let mut page = Page::of(&server);
    page.tail("orders");
    publisher.publish_many("orders", 1, 2);
    page.await_tailed(&[2, 1]);
    drop(publisher);
    server.shutdown();
    page.await_text("#status", "disconnected");
    let server = TestServer::with(|config| config.port = addr.port());
    server.create_topic("orders");
    server.create_topic("new");
    page.await_row("topic-table", "new");
    page.await_text("#status", "live");
    page.expect_no_other_host();
}

#[test]
fn ten_thousand_topics_do_not_freeze_the_page() {
    let server = TestServer::start();
    let mut http = server.http();
    for n in 0..10_000 {
        http.post("/topics", &json!({"name": format!("topic-{n:05}")}))
            .expect(201);
    }
    let mut page = Page::of(&server);
    page.await_text("#topic-note", "The first 100 of 10,000");
    assert_eq!(
        page.eval("document.querySelectorAll('#topic-table tbody tr').length"),
        100
    );
    page.fill("#topic-filter", "topic-0999");
    page.await_text("#topic-note", "10 of 10,000 match");
    let took = page.eval(
        "((began) => { document.querySelector('#topic-table th:nth-child(4) button').click(); return performance.now() - began; })(performance.now())",
    );
    assert!(took.as_f64().unwrap() < 2_000.0, "sorting took {took} ms");
    let topic = page.await_row("topic-table", "topic-09999");
    assert_eq!(topic["Head"], "0", "{topic}");
    page.expect_clean();
}

#[test]
fn restarted_server_shows_its_own_settings() {
    let server = TestServer::with(|config| config.max_queue_size = 77);
    let addr = server.addr();
    let mut page = Page::of(&server);
    page.click("#settings summary");
    let value =
        |page: &mut Page| page.row("settings-table", "PUBSUB_MAX_QUEUE_SIZE")["Value"].clone();
    assert_eq!(value(&mut page), "77");
    page.await_true("/up [1-9]/.test(document.querySelector('#about').textContent)");
    server.shutdown();
    let _server = TestServer::with(|config| {
        config.port = addr.port();
        config.max_queue_size = 55;
    });
    eventually("the new value is shown", || value(&mut page) == "55");
    page.expect_no_other_host();
}

#[test]
fn restart_is_detected_before_the_uptime_differs() {
    let server = TestServer::with(|config| config.max_queue_size = 77);
    let addr = server.addr();
    let mut page = Page::of(&server);
    page.click("#settings summary");
    let value =
        |page: &mut Page| page.row("settings-table", "PUBSUB_MAX_QUEUE_SIZE")["Value"].clone();
    assert_eq!(value(&mut page), "77");
    // The page has most likely seen an uptime of 0, and that cannot fall.
    server.shutdown();
    let _server = TestServer::with(|config| {
        config.port = addr.port();
        config.max_queue_size = 55;
    });
    eventually("the new value is shown", || value(&mut page) == "55");
    page.expect_no_other_host();
}

#[test]
fn client_id_cannot_imitate_another() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    for id in ["this page", "\u{202e}abc", " "] {
        client.subscribe("orders", id);
    }
    let mut page = Page::of(&server);
    page.tail("orders");
    page.await_true("document.querySelectorAll('#connection-table .badge').length === 1");
    let clients = page.eval("[...document.querySelectorAll('#connection-table td[data-label=Clients]')].map((cell) => cell.textContent).find((text) => text.includes('abc'))");
    let clients = clients.as_str().unwrap();
    let mut names: Vec<_> = clients.split(", ").collect();
    names.sort_unstable();
    assert_eq!(names, ["\\u{202e}abc", "this page", "“ ”"]);
    page.expect_clean();
}

/// Clicks on the number of subscribers of the only topic.
fn show_subscribers(page: &mut Page) {
    page.click("#topic-table td[data-label=Subscribers] button");
    page.await_true("!document.querySelector('#subscribers').hidden");
}

#[test]
fn subscribers_of_a_topic_are_shown_and_stay_up_to_date() {
    let server = TestServer::with_topic("orders");
    let mut page = Page::of(&server);
    page.await_row("topic-table", "orders");
    assert_eq!(
        page.eval("document.querySelector('#subscribers').hidden"),
        true
    );
    show_subscribers(&mut page);
    page.await_text("#subscribers-title", "Subscribers of orders");
    page.await_text("#subscriber-note", "None.");
    let mut client = server.ws();
    client.subscribe("orders", "s1");
    let row = page.await_row("subscriber-table", "s1");
    let duration = row["For"].as_str().unwrap();
    assert!(duration.ends_with(" s"), "{row}");
    let list = server.http().get("/topics/orders/subscribers").expect(200);
    let since = page.eval("document.querySelector('#subscriber-table td[data-label=Since]').title");
    assert_eq!(since, list["subscribers"][0]["since"]);
    client.subscribe("orders", "\u{202e}abc");
    page.await_row("subscriber-table", "\\u{202e}abc");
    page.tail("orders");
    page.await_row("subscriber-table", "this page");
    drop(client);
    page.await_true("document.querySelectorAll('#subscriber-table tbody tr').length === 1");
    page.click("#subscribers-close");
    page.await_true("document.querySelector('#subscribers').hidden");
    page.expect_clean();
}

#[test]
fn of_many_subscribers_the_first_are_shown_and_the_others_counted() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    for n in 0..250 {
        client.subscribe("orders", &format!("s{n:03}"));
    }
    let mut page = Page::of(&server);
    page.await_row("topic-table", "orders");
    show_subscribers(&mut page);
    page.await_text("#subscriber-note", "… and 150 more");
    let rows = "[...document.querySelectorAll('#subscriber-table td[data-label=Client]')]";
    assert_eq!(page.eval(&format!("{rows}.length")), 100);
    assert_eq!(page.eval(&format!("{rows}[99].textContent")), "s099");
    page.expect_clean();
}

#[test]
fn subscribers_of_a_deleted_topic_are_shown_no_more() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    client.subscribe("orders", "s1");
    let mut page = Page::of(&server);
    page.await_row("topic-table", "orders");
    show_subscribers(&mut page);
    page.await_row("subscriber-table", "s1");
    server.delete_topic("orders");
    page.await_text("#subscriber-note", "Topic 'orders' not found");
    assert_eq!(
        page.eval("document.querySelectorAll('#subscriber-table tbody tr').length"),
        0
    );
    page.await_text("#status", "live");
    page.expect_no_other_host();
}
