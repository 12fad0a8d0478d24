//! A body that is written piece by piece and never becomes larger than the room for it.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;

use super::large_answers::ROOM_HEADER;
use super::message::{JSON, Request, Response};
use super::problem::Problem;

/// How many bytes the body of an answer may have; the rest is refused.
#[derive(Debug)]
pub(crate) struct BoundedBody {
    bytes: Vec<u8>,
    room: usize,
}

impl BoundedBody {
    /// Fails when there is no room for what is expected. Allocates that much at once, so that nothing is copied when the
    /// body grows.
    pub(crate) fn new(expected: usize, room: usize) -> Result<BoundedBody, Response> {
        if expected > room {
            return Err(Response::needs_room(expected));
        }
        Ok(BoundedBody {
            bytes: Vec::with_capacity(expected),
            room,
        })
    }

    /// The body as it is to be sent: what was expected and did not come is given back.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.shrink_to_fit();
        self.bytes
    }
}

impl Write for BoundedBody {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if piece.len() > self.room - self.bytes.len() {
            return Err(ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Request {
    /// How many bytes the body of the answer may have; without bounds when nobody says so.
    pub(crate) fn room(&self) -> usize {
        let room = self.header(ROOM_HEADER).map(str::parse);
        room.and_then(Result::ok).unwrap_or(usize::MAX)
    }
}

impl Response {
    /// A list as JSON, within the room of the request. `expected` is about how many bytes it will have, with what is
    /// needed to write it; where that is too little, twice as much is asked for.
    pub(crate) fn list(request: &Request, expected: usize, list: &impl Serialize) -> Response {
        let room = request.room();
        let mut body = match BoundedBody::new(expected, room) {
            Ok(body) => body,
            Err(response) => return response,
        };
        match serde_json::to_writer(&mut body, list) {
            Ok(()) => Response::new(200, JSON, body.finish()),
            Err(error) if error.is_io() => Response::needs_room(room.max(expected) * 2),
            Err(error) => {
                tracing::error!(%error, "a list could not be written as JSON");
                Response::problem(&Problem::internal())
            }
        }
    }

    /// Asks to be asked again with room for so many bytes. What a client sees if nobody does.
    pub(crate) fn needs_room(bytes: usize) -> Response {
        Response::problem(&Problem::unavailable("There is no room for this answer"))
            .with_header(ROOM_HEADER, bytes.to_string())
    }

    /// The response, unless its body is larger than the room of the request. Only reading may be asked for again.
    pub(crate) fn within_room(self, request: &Request) -> Response {
        let bytes = self.body.len();
        if bytes > request.room() && request.method == "GET" {
            return Response::needs_room(bytes);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(room: usize) -> Request {
        Request {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            query: None,
            headers: vec![(ROOM_HEADER.to_owned(), room.to_string())],
            body: Vec::new(),
            keep_alive: true,
        }
    }

    fn needed(response: &Response) -> Option<&str> {
        let mut headers = response.headers.iter();
        let header = headers.find(|(name, _)| *name == ROOM_HEADER)?;
        Some(&header.1)
    }

    #[test]
    fn a_list_that_fits_is_written() {
        let response = Response::list(&request(5), 3, &["a"]);
        assert_eq!(
            (response.status, &response.body[..]),
            (200, &b"[\"a\"]"[..])
        );
    }

    #[test]
    fn a_list_that_does_not_fit_says_how_much_it_needs() {
        let expected = Response::list(&request(5), 6, &["a"]);
        assert_eq!(needed(&expected), Some("6"));
        let unexpected = Response::list(&request(4), 3, &["a"]);
        assert_eq!(needed(&unexpected), Some("8"));
    }

    #[test]
    fn a_body_is_held_against_the_room_whoever_wrote_it() {
        let response = || Response::new(200, JSON, vec![b'1'; 10]);
        assert_eq!(response().within_room(&request(10)), response());
        assert_eq!(needed(&response().within_room(&request(9))), Some("10"));
        let mut publish = request(9);
        publish.method = "POST".to_owned();
        assert_eq!(response().within_room(&publish), response());
    }
}
