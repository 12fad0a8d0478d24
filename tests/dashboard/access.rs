//! A server with keys: the page needs none, its data do.

use threadcast::ApiKey;

use crate::harness::{TestServer, TextFile, entry};
use crate::page::Page;

fn give_key(page: &mut Page, key: &str) {
    page.await_true("document.querySelector('#key-dialog')?.open === true");
    page.fill("#key", key);
    page.click("#key-form button[type=submit]");
}

#[test]
fn wrong_key_is_reported_and_the_right_key_shows_everything() {
    let server = TestServer::with(|config| config.api_key = ApiKey::new("s3cret/+~").ok());
    let fields = [("X-API-Key", "s3cret/+~")];
    let mut http = server.http();
    http.request("POST", "/topics", &fields, r#"{"name":"orders"}"#)
        .expect(201);
    let mut page = Page::unopened(&server);
    page.open();
    page.await_text("#status", "needs a key");
    assert_eq!(
        page.eval("document.querySelectorAll('#topic-table tbody tr').length"),
        0
    );
    give_key(&mut page, "wrong");
    page.await_text("#key-error", "does not accept this key");
    page.forgive();
    give_key(&mut page, "s3cret/+~");
    page.await_text("#status", "live");
    page.await_row("topic-table", "orders");
    page.tail("orders");
    let body = r#"{"payload":1}"#;
    http.request("POST", "/topics/orders/messages", &fields, body)
        .expect(201);
    page.await_tailed(&[1]);
    page.await_row("connection-table", "api_key");
    page.click("#settings summary");
    assert_eq!(
        page.await_row("settings-table", "PUBSUB_API_KEY")["Value"],
        "***"
    );
    assert_eq!(
        page.eval("document.documentElement.outerHTML.includes('s3cret')"),
        false
    );
    assert_eq!(
        page.eval("localStorage.length + sessionStorage.length + document.cookie.length"),
        0
    );
    page.expect_clean();
}

/// The API key as a header.
const BOSS: [(&str, &str); 1] = [("X-API-Key", "boss")];

/// A key that may only subscribe to `orders`.
fn reader() -> TextFile {
    let rights = r#"subscribe = ["orders"]"#;
    TextFile::new(&entry("reader", "reader-secret", rights))
}

/// A server with these keys, the API key and a topic.
fn asking_for_keys(keys: Option<&TextFile>, topic: &str) -> TestServer {
    let server = TestServer::with(|config| {
        config.keys_file = keys.map(|keys| keys.path().to_owned());
        config.api_key = ApiKey::new("boss").ok();
    });
    let body = format!(r#"{{"name":"{topic}"}}"#);
    let mut http = server.http();
    http.request("POST", "/topics", &BOSS, &body).expect(201);
    server
}

#[test]
fn key_for_one_topic_may_only_tail_it() {
    let keys = reader();
    let server = asking_for_keys(Some(&keys), "orders");
    let mut page = Page::unopened(&server);
    page.open();
    give_key(&mut page, "reader-secret");
    page.await_text("#status", "limited by the key");
    page.await_true("!document.querySelector('#limited').hidden");
    page.tail("orders");
    let body = r#"{"payload":1}"#;
    let mut http = server.http();
    http.request("POST", "/topics/orders/messages", &BOSS, body)
        .expect(201);
    page.await_tailed(&[1]);
    page.click("#tail-subscribers");
    page.await_row("subscriber-table", "this page");
    // An action of the user lets the page look at the state of the server again, which this key may not see.
    let requests = "performance.getEntriesByType('resource').filter((entry) => entry.name.includes('/subscribers?')).length";
    let before = page.eval(requests);
    page.fill("#create-name", "new");
    page.click("#create button[type=submit]");
    page.await_text("#create-result", "no right to administer");
    page.await_true(&format!("{requests} > {before}"));
    page.await_row("subscriber-table", "this page");
    page.fill("#tail-topic", "other");
    page.click("#tail-subscribers");
    page.await_text("#subscribers-title", "Subscribers of other");
    page.await_text("#subscriber-note", "may not subscribe");
    page.click("#tail-start");
    page.await_text("#tail-rows .mark", "FORBIDDEN");
    page.expect_no_other_host();
}

#[test]
fn weaker_key_does_not_keep_data_of_a_stronger_one() {
    let keys = reader();
    let server = asking_for_keys(Some(&keys), "secret");
    let mut page = Page::unopened(&server);
    page.open();
    // With white space, as after pasting.
    give_key(&mut page, " boss ");
    page.await_row("topic-table", "secret");
    page.await_true("document.querySelectorAll('#settings-table tbody tr').length > 20");
    page.click("#topic-table td[data-label=Subscribers] button");
    page.await_text("#subscriber-note", "None.");
    page.click("#key-open");
    give_key(&mut page, "reader-secret");
    page.await_text("#status", "limited by the key");
    assert_eq!(page.eval("document.querySelectorAll('tbody tr').length"), 0);
    assert_eq!(page.text("#topic-total"), "–");
    let is_hidden = page.eval("document.querySelector('#subscribers').hidden");
    assert_eq!(is_hidden, true);
    page.await_text("#topic-note", "Not shown without a key");
    page.expect_no_other_host();
}

#[test]
fn tail_waits_for_a_key_and_resumes_with_it() {
    let server = asking_for_keys(None, "orders");
    let mut page = Page::unopened(&server);
    page.open();
    page.await_true("document.querySelector('#key-dialog')?.open === true");
    page.click("#key-cancel");
    page.fill("#tail-topic", "orders");
    page.click("#tail-start");
    page.await_text("#tail-state", "needs a key");
    page.click("#key-open");
    give_key(&mut page, "boss");
    page.await_text("#tail-state", "live");
    page.expect_no_other_host();
}
