//! What a server may send on one connection: HTTP responses (RFC 9112) with JSON bodies, then perhaps frames.

use crate::frames::{self, Frame, Wrong};
use crate::json::{self, Node, Value};

/// Checks everything a server has sent; returns how many frames answer a request.
///
/// Panics with the error. `may_be_cut` if the end may be missing; `heads` if a `HEAD` may have been requested.
pub fn check(mut output: &[u8], may_be_cut: bool, heads: bool) -> usize {
    while !output.is_empty() {
        let Some((answer, rest)) = head(output) else {
            assert!(may_be_cut, "half a head: {}", output.escape_ascii());
            return 0;
        };
        output = rest;
        match answer.status {
            100 => {}
            101 => return check_frames(output, may_be_cut),
            500 => panic!("an internal error is answered"),
            _ => output = check_body(&answer, rest, may_be_cut, heads),
        }
    }
    0
}

struct Answer {
    status: u16,
    length: Option<usize>,
    content_type: String,
}

fn head(output: &[u8]) -> Option<(Answer, &[u8])> {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&output[..end]).expect("a head is ASCII");
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let status = line
        .strip_prefix("HTTP/1.1 ")
        .unwrap_or_else(|| panic!("{line:?} is no status line"));
    let (status, reason) = status
        .split_once(' ')
        .expect("a reason, if only an empty one");
    assert!(
        status.len() == 3 && reason.chars().all(|c| c == ' ' || c.is_ascii_graphic()),
        "{line:?}"
    );
    let mut answer = Answer {
        status: status.parse().expect("a status"),
        length: None,
        content_type: String::new(),
    };
    for line in lines {
        let (name, value) = line
            .split_once(": ")
            .unwrap_or_else(|| panic!("{line:?} is no field"));
        assert!(
            name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
            "{line:?}"
        );
        assert!(
            value.chars().all(|c| c == ' ' || c.is_ascii_graphic()),
            "{line:?}"
        );
        match &*name.to_ascii_lowercase() {
            "content-length" => assert_eq!(
                answer.length.replace(value.parse().unwrap()),
                None,
                "two lengths"
            ),
            "content-type" => answer.content_type = value.to_owned(),
            _ => {}
        }
    }
    Some((answer, &output[end + 4..]))
}

/// Checks the body that begins here; returns the bytes behind it.
fn check_body<'a>(answer: &Answer, rest: &'a [u8], may_be_cut: bool, heads: bool) -> &'a [u8] {
    let length = answer.length.expect("every answer has a length");
    if heads && (rest.is_empty() || rest.starts_with(b"HTTP/1.1 ")) {
        return rest;
    }
    let Some((body, rest)) = rest.split_at_checked(length) else {
        assert!(may_be_cut, "half a body of an answer {}", answer.status);
        return &[];
    };
    let is_problem = answer.status >= 400;
    assert_eq!(
        answer.content_type == "application/problem+json",
        is_problem,
        "of an answer {}",
        answer.status
    );
    if answer.content_type.ends_with("json") {
        let body = std::str::from_utf8(body).expect("a body of JSON is UTF-8");
        let body = json::parse(body).unwrap_or_else(|| panic!("no JSON: {body}"));
        assert!(!is_problem || body.get("detail").and_then(Node::string).is_some());
    }
    rest
}

fn check_frames(output: &[u8], may_be_cut: bool) -> usize {
    let frames = match frames::read(output) {
        Ok(frames) => frames,
        Err(Wrong::Cut) if may_be_cut => return 0,
        Err(wrong) => panic!("{wrong:?} in {}", output.escape_ascii()),
    };
    let mut answers = 0;
    for frame in frames {
        match frame {
            Frame::Text(text) => answers += usize::from(is_answer(text)),
            Frame::Close(Some(code)) => assert!(may_be_sent(code), "close code {code}"),
            Frame::Close(None) | Frame::Ping | Frame::Pong => {}
        }
    }
    answers
}

/// Whether a message answers a request; otherwise it is a notification.
fn is_answer(text: &str) -> bool {
    let message = json::parse(text).unwrap_or_else(|| panic!("no JSON: {text}"));
    assert!(
        matches!(message.value, Value::Object(_)),
        "no object: {text}"
    );
    match message.get("type").and_then(Node::string) {
        Some("ack" | "pong") => true,
        Some("event" | "info") => false,
        Some("error") => {
            let error = message.get("error").expect("an error says what is wrong");
            let code = error.get("code").and_then(Node::string).expect("a code");
            assert_ne!(code, "INTERNAL");
            code != "SLOW_CONSUMER"
        }
        other => panic!("a message of type {other:?}"),
    }
}

/// Whether a frame may have this code (RFC 6455 §7.4) and it is no internal error.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1010 | 1012..=1014 | 3000..=4999)
}
