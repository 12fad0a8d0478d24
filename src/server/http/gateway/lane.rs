//! One persistent connection to tiny_http: a request goes in clean, its answer comes out whole.
//!
//! A lane that fails once is given up, because an answer may still be under way on it. What it writes is built from
//! checked parts only.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::super::answer::Answer;
use super::super::deadline::{Deadline, read_by, write_by};
use super::super::large_answers::ROOM_HEADER;
use super::super::media::{BODY_TYPE_HEADER, PREFERENCE_HEADER};
use super::super::message::{PLACE_HEADER, Request};
use super::backend::Backend;
use super::bodies::{TICKET_HEADER, Ticket};

/// Marks the request that a new connection makes for itself.
pub(super) const PROBE_HEADER: &str = "x-threadcast-probe";
const PROBE: &[u8] = b"GET / HTTP/1.1\r\nX-Threadcast-Probe: 1\r\nContent-Length: 0\r\n\r\n";

/// What stands for a method that no resource has; the router answers it with 405 and `Allow`.
const OTHER_METHOD: &str = "OTHER";

const READ_BYTES: usize = 8 * 1024;
const MAX_ANSWER_HEADERS: usize = 64;

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) connection: Arc<UnixStream>,
    /// Stays as long as one of its lanes.
    pub(super) backend: Arc<Backend>,
}

/// What the gateway tells a handler besides the request.
#[derive(Debug)]
pub(super) struct Terms {
    /// How many bytes the body of the answer may have.
    pub(super) room: usize,
    pub(super) ticket: Ticket,
}

/// Waits until a worker has answered a probe.
pub(super) fn probe(connection: &UnixStream, deadline: Deadline) -> io::Result<()> {
    write_by(connection, PROBE, deadline)?;
    read_answer(connection, deadline).map(drop)
}

impl Lane {
    /// After an error the lane must not be used again: an answer may still be under way on it.
    pub(super) fn exchange(
        &self,
        request: &Request,
        terms: &Terms,
        deadline: Deadline,
    ) -> io::Result<Answer> {
        let connection = &*self.connection;
        write_by(connection, &encode_head(request, terms), deadline)?;
        write_by(connection, &request.body, deadline)?;
        let mut answer = read_answer(connection, deadline)?;
        if answer.take_header(TICKET_HEADER).is_some() {
            answer.body = terms.ticket.take();
        }
        Ok(answer)
    }
}

/// Method, target and body length of a request, and nothing else of what a client sent but what we made of it.
fn encode_head(request: &Request, terms: &Terms) -> Vec<u8> {
    let method = match request.method.as_str() {
        "HEAD" => "GET",
        known @ ("GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "TRACE") => known,
        _ => OTHER_METHOD,
    };
    let query = request.query.as_deref();
    let (mark, query) = query.map_or(("", ""), |query| ("?", query));
    let ours = [BODY_TYPE_HEADER, PREFERENCE_HEADER, PLACE_HEADER].map(|name| {
        match request.header(name) {
            Some(word) => format!("{name}: {word}\r\n"),
            None => String::new(),
        }
    });
    format!(
        "{method} {path}{mark}{query} HTTP/1.1\r\n{ours}{ROOM_HEADER}: {room}\r\n{TICKET_HEADER}: {ticket}\r\nContent-Length: {length}\r\n\r\n",
        path = request.path,
        ours = ours.concat(),
        room = terms.room,
        ticket = terms.ticket.number,
        length = request.body.len(),
    )
    .into_bytes()
}

fn read_answer(connection: &UnixStream, deadline: Deadline) -> io::Result<Answer> {
    let mut received = Vec::new();
    loop {
        if let Some((mut answer, head_bytes, body_bytes)) = parse_answer(&received)? {
            let end = head_bytes.saturating_add(body_bytes);
            while received.len() < end {
                receive(connection, &mut received, deadline)?;
            }
            if received.len() > end {
                return Err(ErrorKind::InvalidData.into());
            }
            answer.body = received.split_off(head_bytes);
            return Ok(answer);
        }
        receive(connection, &mut received, deadline)?;
    }
}

fn receive(connection: &UnixStream, received: &mut Vec<u8>, deadline: Deadline) -> io::Result<()> {
    let before = received.len();
    received.resize(before + READ_BYTES.max(before), 0);
    let buffer = received.get_mut(before..).unwrap_or_default();
    let read = read_by(connection, buffer, deadline)?;
    received.truncate(before + read);
    match read {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// The head of an answer without its body, and the length of both; `None` while it is incomplete.
fn parse_answer(received: &[u8]) -> io::Result<Option<(Answer, usize, usize)>> {
    let invalid = || io::Error::from(ErrorKind::InvalidData);
    let mut headers = [httparse::EMPTY_HEADER; MAX_ANSWER_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let head_bytes = match response.parse(received) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(invalid()),
    };
    let mut answer = Answer {
        status: response.code.ok_or_else(invalid)?,
        content_type: String::new(),
        headers: Vec::new(),
        body: Vec::new(),
        room: None,
    };
    let mut body_bytes = None;
    for header in response.headers {
        let value = std::str::from_utf8(header.value).map_err(|_| invalid())?;
        match header.name.to_ascii_lowercase().as_str() {
            "content-length" => body_bytes = value.parse().ok(),
            "content-type" => value.clone_into(&mut answer.content_type),
            // Those of the private connection, not of the answer.
            "connection" | "date" | "server" | "transfer-encoding" | "upgrade" => {}
            _ => answer
                .headers
                .push((header.name.to_owned(), value.to_owned())),
        }
    }
    let body_bytes = body_bytes.ok_or_else(invalid)?;
    Ok(Some((answer, head_bytes, body_bytes)))
}

#[cfg(test)]
mod tests {
    use super::super::bodies::Bodies;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_but_method_target_type_and_length_is_forwarded() {
        let mut request = Request {
            method: "HEAD".to_owned(),
            path: "/topics".to_owned(),
            query: Some("a=b".to_owned()),
            headers: vec![
                ("authorization".to_owned(), "Bearer secret".to_owned()),
                ("x-body-type".to_owned(), "json".to_owned()),
            ],
            body: b"{}".to_vec(),
            keep_alive: false,
        };
        let terms = Terms {
            room: 7,
            ticket: Arc::new(Bodies::default()).ticket(),
        };
        let text = String::from_utf8(encode_head(&request, &terms)).unwrap();
        assert_eq!(
            text,
            "GET /topics?a=b HTTP/1.1\r\nx-body-type: json\r\nx-threadcast-room: 7\r\nx-threadcast-ticket: 1\r\nContent-Length: 2\r\n\r\n"
        );
        request.method = "BREW".to_owned();
        request.query = None;
        let text = String::from_utf8(encode_head(&request, &terms)).unwrap();
        assert!(text.starts_with("OTHER /topics HTTP/1.1\r\n"), "{text}");
    }

    #[test]
    fn an_answer_without_a_length_is_an_error() {
        assert!(parse_answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(parse_answer(b"nonsense\r\n\r\n").is_err());
        assert!(parse_answer(b"HTTP/1.1 200 OK\r\nA: b").unwrap().is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_as_an_answer_are_judged_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            let _ = parse_answer(&bytes);
        }
    }
}
