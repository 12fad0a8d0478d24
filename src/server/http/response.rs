//! A response: what a handler makes, and its bytes for the client.
//!
//! Every response but that of a stream has a `Content-Length`, and all have the headers of [`PROTECTION`]. A header value with control bytes is left out.

use std::borrow::Cow;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::problem::{Problem, reason_phrase};
use crate::server::semaphore::Permit;

pub(crate) const JSON: &str = "application/json";
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// A body up to here is copied behind its head, so that both are sent with one call.
const MAX_COPIED_BYTES: usize = 16 << 10;

/// From 1970 to the first moment that has no date in HTTP.
const END_OF_YEAR_9999: Duration = Duration::from_secs(253_402_300_800);

/// Headers of every response whose handler does not set them: browsers do not guess another type, and nobody stores a
/// response that may need a credential or be outdated the next moment.
const PROTECTION: [(&str, &str); 2] = [
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
];

/// Header values must never hold text that a client chose.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) content_type: Cow<'static, str>,
    pub(crate) headers: Vec<(Cow<'static, str>, String)>,
    pub(crate) body: Vec<u8>,
    /// Set when the edge is to send the request to a worker again instead of this response.
    pub(crate) retry: Option<Retry>,
    /// The memory reserved for a large body; released when the response is dropped.
    pub(crate) memory: Option<Permit>,
}

/// What the edge waits for before it sends a request to a worker again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// Memory for a body of this many bytes.
    Memory { bytes: usize },
    /// Room in the topic for an event of this many bytes.
    Publish { event_bytes: usize },
}

impl Response {
    pub(crate) fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Response {
        Response {
            status,
            content_type: Cow::Borrowed(content_type),
            headers: Vec::new(),
            body,
            retry: None,
            memory: None,
        }
    }

    /// A response that has no body, because its status allows none.
    pub(crate) fn empty(status: u16) -> Response {
        Response::new(status, "", Vec::new())
    }

    pub(crate) fn json(status: u16, body: &impl Serialize) -> Response {
        match serde_json::to_vec(body) {
            Ok(body) => Response::new(status, JSON, body),
            Err(error) => {
                tracing::error!(%error, "a response could not be written as JSON");
                Response::from(&Problem::internal())
            }
        }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Response {
        self.headers.push((Cow::Borrowed(name), value.into()));
        self
    }

    pub(crate) fn with_retry(mut self, retry: Retry) -> Response {
        self.retry = Some(retry);
        self
    }

    /// Adds a header, or another element to the list of one that is there.
    pub(crate) fn add_header(&mut self, name: &'static str, value: impl Into<String>) {
        let mut headers = self.headers.iter_mut();
        match headers.find(|(field, _)| field.eq_ignore_ascii_case(name)) {
            Some((_, list)) => {
                list.push_str(", ");
                list.push_str(&value.into());
            }
            None => self.headers.push((Cow::Borrowed(name), value.into())),
        }
    }

    fn has_header(&self, name: &str) -> bool {
        let mut headers = self.headers.iter();
        headers.any(|(field, _)| field.eq_ignore_ascii_case(name))
    }

    /// All bytes of the response.
    pub(crate) fn encode(&self, delivery: Delivery) -> Vec<u8> {
        let mut bytes = self.encode_head(delivery);
        if !delivery.head_only {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }

    /// The first bytes of the response, and a body that is too large to copy.
    pub(crate) fn encode_in_parts(&self, delivery: Delivery) -> (Vec<u8>, &[u8]) {
        if self.body.len() <= MAX_COPIED_BYTES || delivery.head_only {
            return (self.encode(delivery), &[]);
        }
        (self.encode_head(delivery), &self.body)
    }

    fn encode_head(&self, delivery: Delivery) -> Vec<u8> {
        let mut bytes = self.begin_head();
        if self.may_have_body() {
            push_field(&mut bytes, "Content-Length", &self.body.len().to_string());
        }
        self.finish_head(bytes, delivery)
    }

    /// The head of a response whose body follows for as long as the connection lasts.
    pub(crate) fn encode_head_of_stream(&self) -> Vec<u8> {
        let close = true;
        let head_only = false;
        self.finish_head(self.begin_head(), Delivery { head_only, close })
    }

    fn begin_head(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        push_status_line(&mut bytes, self.status);
        if let Some(date) = http_date(SystemTime::now()) {
            push_field(&mut bytes, "Date", &date);
        }
        if self.may_have_body() {
            push_field(&mut bytes, "Content-Type", &self.content_type);
        }
        bytes
    }

    /// 204 has neither a body nor a length (RFC 9110 §8.6).
    fn may_have_body(&self) -> bool {
        self.status != 204
    }

    fn finish_head(&self, mut bytes: Vec<u8>, delivery: Delivery) -> Vec<u8> {
        for (name, value) in &self.headers {
            push_field(&mut bytes, name, value);
        }
        for (name, value) in PROTECTION {
            if !self.has_header(name) {
                push_field(&mut bytes, name, value);
            }
        }
        if delivery.close {
            push_field(&mut bytes, "Connection", "close");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }
}

/// How a response is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// The request was a HEAD: the body is not sent, its length is.
    pub(crate) head_only: bool,
    /// The connection ends after this response.
    pub(crate) close: bool,
}

impl From<&Problem> for Response {
    fn from(problem: &Problem) -> Response {
        // A struct of strings and numbers always becomes JSON.
        let body = serde_json::to_vec(problem).unwrap_or_default();
        let headers = problem.headers.iter();
        Response {
            headers: headers
                .map(|(name, value)| (Cow::Borrowed(*name), value.clone()))
                .collect(),
            ..Response::new(problem.status, PROBLEM_JSON, body)
        }
    }
}

/// `None` for a clock that cannot be right (before 1970 or after 9999): a server without one sends no `Date`
/// (RFC 9110, 6.6.1).
fn http_date(now: SystemTime) -> Option<String> {
    let since_epoch = now.duration_since(UNIX_EPOCH).ok()?;
    (since_epoch < END_OF_YEAR_9999).then(|| httpdate::fmt_http_date(now))
}

fn push_status_line(bytes: &mut Vec<u8>, status: u16) {
    // Writing into a Vec cannot fail.
    let _ = write!(bytes, "HTTP/1.1 {status} {}\r\n", reason_phrase(status));
}

fn push_field(bytes: &mut Vec<u8>, name: &str, value: &str) {
    if value.bytes().any(|byte| byte.is_ascii_control()) {
        tracing::error!(name, "a response header with control bytes was left out");
        return;
    }
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value.as_bytes());
    bytes.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Delivery = Delivery {
        head_only: false,
        close: false,
    };

    fn encoded(response: &Response, delivery: Delivery) -> String {
        String::from_utf8(response.encode(delivery)).unwrap()
    }

    #[test]
    fn a_response_has_status_line_length_type_and_body() {
        let text = encoded(&Response::json(201, &["a"]), OPEN);
        assert!(text.starts_with("HTTP/1.1 201 Created\r\nDate: "), "{text}");
        assert!(text.contains("\r\nContent-Type: application/json\r\n"));
        assert!(text.contains("\r\nContent-Length: 5\r\n"));
        assert!(!text.contains("Connection:"));
        assert!(text.ends_with("\r\n\r\n[\"a\"]"));
    }

    #[test]
    fn a_response_is_protected_once_and_as_its_handler_says() {
        let plain = encoded(&Response::json(200, &1), OPEN);
        assert!(
            plain.contains("\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n")
        );
        let own = Response::json(200, &1).with_header("cache-control", "no-cache");
        let own = encoded(&own, OPEN);
        assert!(own.contains("\r\nX-Content-Type-Options: nosniff\r\n"));
        assert!(own.contains("\r\ncache-control: no-cache\r\n") && !own.contains("no-store"));
    }

    #[test]
    fn a_response_to_head_has_the_length_and_no_body() {
        let delivery = Delivery {
            head_only: true,
            close: true,
        };
        let text = encoded(&Response::json(200, &["a"]), delivery);
        assert!(text.contains("\r\nContent-Length: 5\r\n"));
        assert!(text.ends_with("\r\nConnection: close\r\n\r\n"));
    }

    #[test]
    fn a_large_body_follows_its_head_without_a_copy() {
        let body = "x".repeat(MAX_COPIED_BYTES);
        let response = Response::json(200, &body);
        let (head, rest) = response.encode_in_parts(OPEN);
        assert!(head.ends_with(b"\r\n\r\n"));
        assert!(std::ptr::eq(rest, response.body.as_slice()));
        assert_eq!([&head[..], rest].concat(), response.encode(OPEN));
        let small = Response::json(200, &1);
        let (all, rest) = small.encode_in_parts(OPEN);
        assert_eq!((all, rest), (small.encode(OPEN), &b""[..]));
    }

    #[test]
    fn a_time_that_has_no_date_is_left_out() {
        let day = Duration::from_secs(24 * 3600);
        for (now, shown) in [
            (UNIX_EPOCH - day, None),
            (UNIX_EPOCH, Some("Thu, 01 Jan 1970 00:00:00 GMT")),
            (
                UNIX_EPOCH + END_OF_YEAR_9999 - day,
                Some("Fri, 31 Dec 9999 00:00:00 GMT"),
            ),
            (UNIX_EPOCH + END_OF_YEAR_9999, None),
            (UNIX_EPOCH + END_OF_YEAR_9999 + day * 365, None),
        ] {
            assert_eq!(http_date(now).as_deref(), shown);
        }
    }

    #[test]
    fn a_header_value_cannot_split_the_response() {
        let response = Response::json(200, &1).with_header("X-Note", "a\r\nSet-Cookie: b");
        assert!(!encoded(&response, OPEN).contains("Set-Cookie"));
    }

    #[test]
    fn a_problem_keeps_its_headers_as_a_response() {
        let problem = Problem::new(405, "METHOD_NOT_ALLOWED", "no").with_header("Allow", "GET");
        let response = Response::from(&problem);
        assert_eq!(response.status, 405);
        assert_eq!(response.content_type, PROBLEM_JSON);
        assert_eq!(response.headers, [("Allow".into(), "GET".to_owned())]);
    }
}
