//! The chapter of the errors: what was wrong, in a code for machines and a sentence for people.

use serde_json::json;

use super::shared::{Failure, ServerAddress};
use super::visitor::Visitor;

/// Requests with the error that answers each of them.
const MISTAKES: [(&str, &str, &str); 6] = [
    (
        r#"{"type":"subscribe","client_id":"c"}"#,
        "BAD_REQUEST",
        "topic is required",
    ),
    (
        r#"{"type":"subscribe","topic":"orders"}"#,
        "BAD_REQUEST",
        "client_id is required",
    ),
    (
        r#"{"type":"publish","topic":"orders"}"#,
        "BAD_REQUEST",
        "message is required",
    ),
    (
        r#"{"type":"publish","topic":"orders","message":{"id":"7","payload":1}}"#,
        "BAD_REQUEST",
        "message.id must be a valid UUID",
    ),
    (
        r#"{"type":"subscribe","topic":"nowhere","client_id":"c"}"#,
        "TOPIC_NOT_FOUND",
        "Topic 'nowhere' does not exist",
    ),
    (
        r#"{"type":"unsubscribe","topic":"orders","client_id":"bob"}"#,
        "TOPIC_NOT_FOUND",
        "Topic 'orders' not found or client not subscribed",
    ),
];

/// An error answers one request, says what was wrong, and leaves the connection open.
pub(crate) fn chapter(server: &ServerAddress) -> Result<(), Failure> {
    println!("\n6. Errors answer the request and leave the connection open");
    let mut clumsy = Visitor::arrive("clumsy", server)?;
    for (request, code, message) in MISTAKES {
        let reply = clumsy.ask(request)?;
        assert_eq!(reply["error"], json!({"code": code, "message": message}));
    }
    let reply = clumsy.ask(r#"{"type":"dance","request_id":"r-7"}"#)?;
    assert_eq!(reply["error"]["code"], "BAD_REQUEST");
    assert_eq!(reply["request_id"], "r-7");
    assert_eq!(
        clumsy.ask(r#"{"type":"ping","request_id":"r-8"}"#)?["type"],
        "pong"
    );
    Ok(())
}
