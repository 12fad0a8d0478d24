//! One persistent connection to tiny_http: sends a request, reads its response completely.
//!
//! Writes only what the HTTP edge has checked. After an error the connection is not used again, because a response may
//! still arrive on it.

use std::borrow::Cow;
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::super::deadline::{Deadline, read_by, write_by};
use super::super::head::Head;
use super::super::response::Response;
use super::backend::Backend;
use super::slots::{TICKET_HEADER, Ticket};

/// The request of a new connection: without a ticket, so that a worker answers it by itself.
const PROBE: &[u8] = b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n";

/// Replaces a method that no route has, and that tiny_http need not know.
const OTHER_METHOD: &str = "OTHER";

const READ_BYTES: usize = 8 * 1024;
const MAX_RESPONSE_HEADERS: usize = 64;

#[derive(Debug)]
pub(super) struct BackendConnection {
    pub(super) stream: Arc<UnixStream>,
    /// Keeps the backend alive.
    pub(super) backend: Arc<Backend>,
}

/// Waits until a worker has answered a probe.
pub(super) fn probe(stream: &UnixStream, deadline: Deadline) -> io::Result<()> {
    write_by(stream, PROBE, deadline)?;
    read_response(stream, deadline).map(drop)
}

impl BackendConnection {
    /// After an error the connection must not be used again.
    pub(super) fn exchange(
        &self,
        head: &Head,
        body: &[u8],
        ticket: &Ticket,
        deadline: Deadline,
    ) -> io::Result<Response> {
        let stream = &*self.stream;
        let head = encode_head(head, body.len(), ticket);
        write_by(stream, &head, deadline)?;
        write_by(stream, body, deadline)?;
        let mut response = read_response(stream, deadline)?;
        ticket.complete(&mut response);
        Ok(response)
    }
}

/// Method, target and length of the body, and the ticket. No field of a client.
fn encode_head(head: &Head, length: usize, ticket: &Ticket) -> Vec<u8> {
    let method = match head.method.as_str() {
        // tiny_http sends no body to HEAD, but its length is needed.
        "HEAD" => "GET",
        known @ ("GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "TRACE") => known,
        _ => OTHER_METHOD,
    };
    let (mark, query) = match head.query.as_deref() {
        Some(query) => ("?", query),
        None => ("", ""),
    };
    let (path, ticket) = (&head.path, ticket.number);
    format!(
        "{method} {path}{mark}{query} HTTP/1.1\r\n{TICKET_HEADER}: {ticket}\r\nContent-Length: {length}\r\n\r\n"
    )
    .into_bytes()
}

fn read_response(stream: &UnixStream, deadline: Deadline) -> io::Result<Response> {
    let mut received = Vec::new();
    loop {
        if let Some((mut response, head_bytes, body_bytes)) = parse_response(&received)? {
            let end = head_bytes.saturating_add(body_bytes);
            while received.len() < end {
                receive(stream, &mut received, deadline)?;
            }
            if received.len() > end {
                return Err(ErrorKind::InvalidData.into());
            }
            response.body = received.split_off(head_bytes);
            return Ok(response);
        }
        receive(stream, &mut received, deadline)?;
    }
}

fn receive(stream: &UnixStream, received: &mut Vec<u8>, deadline: Deadline) -> io::Result<()> {
    let before = received.len();
    received.resize(before + READ_BYTES.max(before), 0);
    let buffer = received.get_mut(before..).unwrap_or_default();
    let read = read_by(stream, buffer, deadline)?;
    received.truncate(before + read);
    match read {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// The head of a response without its body, and the length of both; `None` while it is incomplete.
fn parse_response(received: &[u8]) -> io::Result<Option<(Response, usize, usize)>> {
    let invalid = || io::Error::from(ErrorKind::InvalidData);
    let mut headers = [httparse::EMPTY_HEADER; MAX_RESPONSE_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let head_bytes = match parsed.parse(received) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(invalid()),
    };
    let status = parsed.code.ok_or_else(invalid)?;
    let mut response = Response::new(status, "", Vec::new());
    let mut body_bytes = None;
    for header in parsed.headers {
        let value = std::str::from_utf8(header.value).map_err(|_| invalid())?;
        match header.name.to_ascii_lowercase().as_str() {
            "content-length" => body_bytes = value.parse().ok(),
            "content-type" => response.content_type = Cow::Owned(value.to_owned()),
            // These belong to this connection.
            "connection" | "date" | "server" | "transfer-encoding" | "upgrade" => {}
            _ => {
                let name = Cow::Owned(header.name.to_owned());
                response.headers.push((name, value.to_owned()));
            }
        }
    }
    let body_bytes = body_bytes.ok_or_else(invalid)?;
    Ok(Some((response, head_bytes, body_bytes)))
}

#[cfg(test)]
mod tests {
    use super::super::slots::Slots;
    use super::*;
    use crate::server::rest::fixture::{head, request};
    use proptest::prelude::*;

    #[test]
    fn nothing_but_method_target_ticket_and_length_is_forwarded() {
        let mut request_head = head("HEAD", "/topics?a=b");
        let secret = ("authorization".to_owned(), "Bearer secret".to_owned());
        request_head.headers.push(secret);
        let ticket = Arc::new(Slots::default()).open(request("HEAD", "/topics", b""));
        let text = String::from_utf8(encode_head(&request_head, 2, &ticket)).unwrap();
        assert_eq!(
            text,
            "GET /topics?a=b HTTP/1.1\r\nx-threadcast-ticket: 1\r\nContent-Length: 2\r\n\r\n"
        );
        for (sent, forwarded) in [
            ("DELETE", "DELETE"),
            ("HEAD", "GET"),
            ("CONNECT", "OTHER"),
            ("get", "OTHER"),
            ("X", "OTHER"),
        ] {
            let text = encode_head(&head(sent, "/p"), 0, &ticket);
            let text = String::from_utf8(text).unwrap();
            let line = format!("{forwarded} /p HTTP/1.1\r\n");
            assert!(text.starts_with(&line), "{text}");
        }
    }

    #[test]
    fn a_response_without_a_length_is_an_error() {
        assert!(parse_response(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(parse_response(b"nonsense\r\n\r\n").is_err());
        assert!(
            parse_response(b"HTTP/1.1 200 OK\r\nA: b")
                .unwrap()
                .is_none()
        );
    }

    proptest! {
        #[test]
        fn any_bytes_as_a_response_are_parsed_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            let _ = parse_response(&bytes);
        }
    }
}
