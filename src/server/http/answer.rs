//! A response on its way to a client: status, headers and body as bytes for one write.
//!
//! Every answer has a `Content-Length` and the headers of [`PROTECTION`]. Header values with control bytes are left out, whoever set them.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::message::Response;
use super::problem::Problem;
use super::status::reason_phrase;
use crate::server::semaphore::Permit;

/// A body up to here is copied behind its head, so that both are sent as one piece.
const MAX_COPIED_BYTES: usize = 16 << 10;

/// From 1970 to the first moment that has no date in HTTP.
const END_OF_YEAR_9999: Duration = Duration::from_secs(253_402_300_800);

/// What every answer carries, unless its handler sets the same header: no browser guesses another type, and nobody keeps a
/// copy of what may need a credential or be old the next moment.
const PROTECTION: [(&str, &str); 2] = [
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
];

/// A response with owned names, as it comes back from a REST worker.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The memory of a large body.
    pub(crate) room: Option<Permit>,
}

/// How the connection stands when an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// The request was a HEAD: the length is told, the body is not sent.
    pub(crate) head_only: bool,
    /// The connection ends after this answer.
    pub(crate) close: bool,
}

impl Answer {
    /// Takes a header out.
    pub(crate) fn take_header(&mut self, name: &str) -> Option<String> {
        let at = self.position(name)?;
        Some(self.headers.swap_remove(at).1)
    }

    fn position(&self, name: &str) -> Option<usize> {
        let mut headers = self.headers.iter();
        headers.position(|(field, _)| field.eq_ignore_ascii_case(name))
    }

    /// The answer as one piece.
    pub(crate) fn encode(&self, delivery: Delivery) -> Vec<u8> {
        let mut bytes = self.encode_head(delivery);
        if !delivery.head_only {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }

    /// The answer as one piece and what is to follow it: the body, where a copy of it would be large.
    pub(crate) fn encode_in_parts(&self, delivery: Delivery) -> (Vec<u8>, &[u8]) {
        if self.body.len() <= MAX_COPIED_BYTES || delivery.head_only {
            return (self.encode(delivery), &[]);
        }
        (self.encode_head(delivery), &self.body)
    }

    fn encode_head(&self, delivery: Delivery) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        push_status_line(&mut bytes, self.status);
        if let Some(date) = http_date(SystemTime::now()) {
            push_field(&mut bytes, "Date", &date);
        }
        push_field(&mut bytes, "Content-Type", &self.content_type);
        push_field(&mut bytes, "Content-Length", &self.body.len().to_string());
        for (name, value) in &self.headers {
            push_field(&mut bytes, name, value);
        }
        for (name, value) in PROTECTION {
            if self.position(name).is_none() {
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

impl From<Response> for Answer {
    fn from(response: Response) -> Answer {
        let headers = response.headers.into_iter();
        Answer {
            status: response.status,
            content_type: response.content_type.to_owned(),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            body: response.body,
            room: None,
        }
    }
}

impl From<&Problem> for Answer {
    fn from(problem: &Problem) -> Answer {
        Answer::from(Response::problem(problem))
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

    fn encoded(response: Response, delivery: Delivery) -> String {
        String::from_utf8(Answer::from(response).encode(delivery)).unwrap()
    }

    #[test]
    fn an_answer_has_status_line_length_type_and_body() {
        let text = encoded(Response::json(201, &["a"]), OPEN);
        assert!(text.starts_with("HTTP/1.1 201 Created\r\nDate: "), "{text}");
        assert!(text.contains("\r\nContent-Type: application/json\r\n"));
        assert!(text.contains("\r\nContent-Length: 5\r\n"));
        assert!(!text.contains("Connection:"));
        assert!(text.ends_with("\r\n\r\n[\"a\"]"));
    }

    #[test]
    fn an_answer_is_protected_once_and_as_its_handler_says() {
        let plain = encoded(Response::json(200, &1), OPEN);
        assert!(
            plain.contains("\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n")
        );
        let own = Response::json(200, &1).with_header("cache-control", "no-cache");
        let own = encoded(own, OPEN);
        assert!(own.contains("\r\nX-Content-Type-Options: nosniff\r\n"));
        assert!(own.contains("\r\ncache-control: no-cache\r\n") && !own.contains("no-store"));
    }

    #[test]
    fn a_head_answer_tells_the_length_and_sends_no_body() {
        let delivery = Delivery {
            head_only: true,
            close: true,
        };
        let text = encoded(Response::json(200, &["a"]), delivery);
        assert!(text.contains("\r\nContent-Length: 5\r\n"));
        assert!(text.ends_with("\r\nConnection: close\r\n\r\n"));
    }

    #[test]
    fn a_large_body_follows_its_head_without_a_copy() {
        let body = "x".repeat(MAX_COPIED_BYTES);
        let answer = Answer::from(Response::json(200, &body));
        let (head, rest) = answer.encode_in_parts(OPEN);
        assert!(head.ends_with(b"\r\n\r\n"));
        assert!(std::ptr::eq(rest, answer.body.as_slice()));
        assert_eq!([&head[..], rest].concat(), answer.encode(OPEN));
        let small = Answer::from(Response::json(200, &1));
        let (all, rest) = small.encode_in_parts(OPEN);
        assert_eq!((all, rest), (small.encode(OPEN), &b""[..]));
    }

    #[test]
    fn a_clock_that_shows_a_time_without_a_date_is_not_told() {
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
        assert!(!encoded(response, OPEN).contains("Set-Cookie"));
    }
}
