//! The opening handshake (RFC 6455 §4.2): checks the request and makes the response.

use tungstenite::handshake::server::{create_response, write_response};
use tungstenite::http;
use tungstenite::http::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};

use super::subprotocol;
use crate::server::http::Problem;
use crate::server::http::fields::BodyLength;
use crate::server::http::head::Head;
use crate::server::http::request_line::Version;

/// Checks a request for `/ws`, and whether its origin may connect; returns the bytes of the 101 response.
pub(crate) fn accept(
    head: &Head,
    check_origin: impl FnOnce() -> Result<(), Problem>,
) -> Result<Vec<u8>, Problem> {
    check_request(head)?;
    check_upgrade(head)?;
    check_origin()?;
    switching_protocols(head).ok_or_else(|| {
        Problem::bad_request("The handshake needs a Sec-WebSocket-Key of 16 bytes in base64")
    })
}

fn check_request(head: &Head) -> Result<(), Problem> {
    if head.method != "GET" {
        let problem = Problem::new(405, "METHOD_NOT_ALLOWED", "A WebSocket is opened with GET");
        return Err(problem.with_header("Allow", "GET, OPTIONS"));
    }
    if head.version != Version::Http11 {
        return Err(Problem::bad_request("A WebSocket needs HTTP/1.1"));
    }
    if head.body != BodyLength::None {
        return Err(Problem::bad_request("A handshake has no body"));
    }
    Ok(())
}

fn check_upgrade(head: &Head) -> Result<(), Problem> {
    let upgrade_required = |detail: &str| {
        Problem::new(426, "UPGRADE_REQUIRED", detail)
            .with_header("Upgrade", "websocket")
            .with_header("Connection", "Upgrade")
    };
    if !has_token(head, "upgrade", "websocket") || !has_token(head, "connection", "upgrade") {
        return Err(upgrade_required(
            "This is a WebSocket endpoint: send Connection: Upgrade and Upgrade: websocket",
        ));
    }
    let mut versions = head.values("sec-websocket-version");
    if versions.next() != Some("13") || versions.next().is_some() {
        let problem = upgrade_required("Only Sec-WebSocket-Version 13 is spoken here");
        return Err(problem.with_header("Sec-WebSocket-Version", "13"));
    }
    if head.values("sec-websocket-key").count() > 1 {
        return Err(Problem::bad_request("Sec-WebSocket-Key appears twice"));
    }
    Ok(())
}

fn has_token(head: &Head, field: &str, token: &str) -> bool {
    head.values(field)
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn switching_protocols(head: &Head) -> Option<Vec<u8>> {
    let request = http::Request::builder()
        .method("GET")
        .version(http::Version::HTTP_11)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", head.header("sec-websocket-key")?)
        .body(())
        .ok()?;
    let mut response = create_response(&request).ok()?;
    if subprotocol::is_offered(head) {
        let ours = HeaderValue::from_static(subprotocol::NAME);
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, ours);
    }
    let mut bytes = Vec::new();
    write_response(&mut bytes, &response).ok()?;
    Some(bytes)
}
