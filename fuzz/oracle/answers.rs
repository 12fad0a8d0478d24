//! What a server may say over one connection: HTTP answers (RFC 9112) with bodies of JSON, then perhaps frames.

use crate::frames::{self, Frame, Wrong};
use crate::json::{self, Node, Value};

/// Checks everything a server has said; how many of its frames answer a request.
///
/// Panics with what is wrong. `may_be_cut` if the end may have got lost; `heads` if a `HEAD` may have been asked.
pub fn check(mut said: &[u8], may_be_cut: bool, heads: bool) -> usize {
    while !said.is_empty() {
        let Some((answer, rest)) = head(said) else {
            assert!(may_be_cut, "half a head: {}", said.escape_ascii());
            return 0;
        };
        said = rest;
        match answer.status {
            100 => {}
            101 => return check_frames(said, may_be_cut),
            500 => panic!("an internal error is answered"),
            _ => said = check_body(&answer, rest, may_be_cut, heads),
        }
    }
    0
}

struct Answer {
    status: u16,
    length: Option<usize>,
    content_type: String,
}

fn head(said: &[u8]) -> Option<(Answer, &[u8])> {
    let end = said.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&said[..end]).expect("a head is ASCII");
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
    Some((answer, &said[end + 4..]))
}

/// Checks the body that begins here; what stands behind it.
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

fn check_frames(said: &[u8], may_be_cut: bool) -> usize {
    let frames = match frames::read(said) {
        Ok(frames) => frames,
        Err(Wrong::Cut) if may_be_cut => return 0,
        Err(wrong) => panic!("{wrong:?} in {}", said.escape_ascii()),
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

/// Whether a message answers a request, and does not tell what happened by itself.
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

/// Everything but an internal error, and what no frame may hold (RFC 6455 §7.4).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1010 | 1012..=1014 | 3000..=4999)
}
