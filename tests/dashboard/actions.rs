//! Actions on the page: creating and deleting topics, publishing, closing connections.

use serde_json::json;

use crate::harness::TestServer;
use crate::page::Page;

#[test]
fn topic_is_created_with_options_and_deleted_after_confirmation() {
    let server = TestServer::start();
    let mut page = Page::of(&server);
    page.fill("#create-name", "orders");
    page.eval("document.querySelector('#create-overflow').value = 'disconnect'");
    page.fill("#create-history", "5");
    page.click("#create button[type=submit]");
    page.await_text("#create-result", "Created orders");
    let topic = page.await_row("topic-table", "orders");
    assert_eq!(topic["Policy"], "disconnect", "{topic}");
    assert_eq!(server.topic("orders")["limits"]["history_size"], 5);

    let delete = "#topic-table .actions button";
    page.click(delete);
    page.await_text("#confirm-text", "Delete the topic “orders”");
    page.press("Escape", 27);
    page.await_true("!document.querySelector('#confirm-dialog').open");
    assert_eq!(server.health()["topics"], 1, "the dialog was not confirmed");
    page.click(delete);
    page.await_true("document.querySelector('#confirm-dialog').open");
    page.click("#confirm-yes");
    page.await_text("#create-result", "Deleted orders");
    page.await_true("document.querySelectorAll('#topic-table tbody tr').length === 0");
    assert_eq!(server.health()["topics"], 0);
    page.expect_clean();
}

#[test]
fn refusals_of_the_server_are_shown() {
    let server = TestServer::with_topic("orders");
    let mut page = Page::of(&server);
    for (name, expected) in [
        ("orders", "Topic 'orders' already exists"),
        ("<b>no</b>", "name"),
    ] {
        page.fill("#create-name", name);
        page.click("#create button[type=submit]");
        page.await_text("#create-result", expected);
    }
    assert_eq!(server.health()["topics"], 1);
}

#[test]
fn message_is_validated_and_published_verbatim() {
    let server = TestServer::with_topic("orders");
    let mut subscriber = server.ws();
    subscriber.subscribe("orders", "s1");
    let mut page = Page::of(&server);
    page.tail("orders");
    page.fill("#publish-payload", r#"{"amount": 1.50"#);
    page.click("#publish-form button");
    page.await_text("#publish-result", "Not JSON");
    assert_eq!(server.topic("orders")["messages"], 0);
    page.fill(
        "#publish-payload",
        r#"{"amount": 1.50, "html": "<img src=x onerror=alert(1)>"}"#,
    );
    page.click("#publish-form button");
    page.await_text("#publish-result", "Published as 1");
    let text = subscriber.next_text();
    assert!(text.contains(r#""payload":{"amount": 1.50, "#), "{text}");
    page.await_text(
        "#tail-rows .payload",
        r#"{"amount": 1.50, "html": "<img src=x onerror=alert(1)>"}"#,
    );
    page.fill("#publish-topic", "absent");
    page.click("#publish-form button");
    page.await_text("#publish-result", "Topic 'absent' not found");
    page.forgive();
    page.eval("1");
    assert_eq!(
        page.eval("document.querySelectorAll('#tail-rows img').length"),
        0
    );
}

#[test]
fn connection_is_closed_after_confirmation() {
    let server = TestServer::with_topic("orders");
    let (mut kicked, mut other) = (server.ws(), server.ws());
    kicked.subscribe("orders", "kicked");
    other.subscribe("orders", "other");
    let mut page = Page::of(&server);
    page.fill("#connection-filter", "kicked");
    page.await_true("document.querySelectorAll('#connection-table tbody tr').length === 1");
    page.click("#connection-table .actions button");
    page.await_text("#confirm-text", "Close the connection of 127.0.0.1:");
    page.click("#confirm-yes");
    assert_eq!(kicked.close_code(), Some(4101));
    page.await_true("document.querySelectorAll('#connection-table tbody tr').length === 0");
    assert!(other.fence().is_empty());
    assert_eq!(other.publish("orders", &json!(1)), 1);
    page.expect_clean();
}
