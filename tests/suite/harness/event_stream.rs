//! A client of an event stream: reads Server-Sent Events off a socket, each with a deadline, and checks every frame.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};

use super::contract::{Sent, check_frame, check_reply};
use super::{DEADLINE, Reply, assert_timestamp};

/// One block of a stream: what stands between two empty lines.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct StreamEvent {
    pub(crate) retry: Option<u64>,
    pub(crate) id: Option<String>,
    /// Empty in a block without data.
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) data: Value,
    pub(crate) comment: Option<String>,
}

pub(crate) struct StreamClient {
    stream: TcpStream,
    /// Bytes of the body as they came.
    input: Vec<u8>,
    /// The body without its chunks, as far as it was not returned.
    body: Vec<u8>,
    is_chunked: bool,
    has_ended: bool,
    pub(crate) head: Reply,
}

impl StreamClient {
    /// Opens a stream that the server must accept.
    pub(crate) fn open(addr: SocketAddr, path: &str) -> StreamClient {
        StreamClient::open_with(addr, path, &[])
    }

    pub(crate) fn open_with(addr: SocketAddr, path: &str, fields: &[(&str, &str)]) -> StreamClient {
        let stream = TcpStream::connect_timeout(&addr, DEADLINE).expect("the server listens");
        StreamClient::over(stream, &request(addr, path, "1.1", fields))
    }

    /// Comes back as an `EventSource` does.
    pub(crate) fn resume(addr: SocketAddr, path: &str, last_event_id: &str) -> StreamClient {
        StreamClient::open_with(addr, path, &[("Last-Event-ID", last_event_id)])
    }

    pub(crate) fn open_http10(addr: SocketAddr, path: &str) -> StreamClient {
        let stream = TcpStream::connect_timeout(&addr, DEADLINE).expect("the server listens");
        StreamClient::over(stream, &request(addr, path, "1.0", &[]))
    }

    /// With a small receive buffer: it soon blocks the server when it does not read.
    pub(crate) fn with_small_buffer(addr: SocketAddr, path: &str) -> StreamClient {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4 << 10).expect("a buffer size");
        socket.connect(&addr.into()).expect("the server listens");
        StreamClient::over(socket.into(), &request(addr, path, "1.1", &[]))
    }

    /// Sends these bytes and reads the head of the response.
    pub(crate) fn over(mut stream: TcpStream, request: &str) -> StreamClient {
        stream.write_all(request.as_bytes()).expect("it is taken");
        let mut client = StreamClient {
            stream,
            input: Vec::new(),
            body: Vec::new(),
            is_chunked: false,
            has_ended: false,
            head: Reply::default(),
        };
        let deadline = Instant::now() + DEADLINE;
        let length = loop {
            if let Some(length) = head_length(&client.input) {
                break length;
            }
            assert!(client.fill(deadline), "no response to {request}");
        };
        let (reply, _) = Reply::parse(&client.input[..length], true).expect("a whole head");
        assert_eq!(reply.status, 200, "{request} {reply}");
        let mut sent = Sent::default();
        sent.push(request.as_bytes());
        check_reply(sent.take().as_ref(), &reply);
        client.input.drain(..length);
        client.is_chunked = reply.header("Transfer-Encoding") == Some("chunked");
        client.head = reply;
        client
    }

    /// The next block; `None` at the end of the body, which must be orderly.
    pub(crate) fn next_block(&mut self) -> Option<StreamEvent> {
        let deadline = Instant::now() + DEADLINE;
        self.block_by(deadline)
            .unwrap_or_else(|| panic!("expected an event, got {:?}", self.unparsed()))
    }

    /// The next block that is not a heartbeat or a reconnection time.
    pub(crate) fn next(&mut self) -> StreamEvent {
        loop {
            let block = self.next_block().expect("an event, not the end");
            if !block.name.is_empty() {
                return block;
            }
        }
    }

    /// The next event, which must have this name.
    pub(crate) fn expect(&mut self, name: &str) -> StreamEvent {
        let event = self.next();
        assert_eq!(event.name, name, "{event:?}");
        event
    }

    /// The next `count` published events.
    pub(crate) fn next_events(&mut self, count: usize) -> Vec<StreamEvent> {
        (0..count).map(|_| self.expect("event")).collect()
    }

    /// Reads to the orderly end; nothing but comments may come before it.
    pub(crate) fn expect_end(&mut self) {
        while let Some(block) = self.next_block() {
            assert_eq!(block.name, "", "{block:?}");
        }
    }

    /// Reads to the end, orderly or not; returns whether it was.
    pub(crate) fn ends_orderly(mut self) -> bool {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.dechunk();
            if self.has_ended {
                return true;
            }
            if !self.fill(deadline) {
                return !self.is_chunked;
            }
        }
    }

    pub(crate) fn reset(self) {
        let linger = Some(Duration::ZERO);
        SockRef::from(&self.stream)
            .set_linger(linger)
            .expect("linger");
    }

    pub(crate) fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).expect("it is open");
    }

    pub(crate) fn try_send_raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// `None` when nothing whole came by the deadline; `Some(None)` at the end.
    fn block_by(&mut self, deadline: Instant) -> Option<Option<StreamEvent>> {
        loop {
            self.dechunk();
            if let Some(end) = find(&self.body, b"\n\n") {
                let block: Vec<u8> = self.body.drain(..end + 2).collect();
                let text = String::from_utf8(block).expect("UTF-8");
                return Some(Some(parse(&text)));
            }
            if self.has_ended {
                assert!(self.body.is_empty(), "a block without its end");
                return Some(None);
            }
            if Instant::now() >= deadline {
                return None;
            }
            if !self.fill(deadline) {
                assert!(!self.is_chunked, "cut: {:?}", self.unparsed());
                self.has_ended = true;
            }
        }
    }

    /// Moves whole chunks from the input to the body.
    fn dechunk(&mut self) {
        if !self.is_chunked {
            self.body.append(&mut self.input);
            return;
        }
        while let Some(line) = find(&self.input, b"\r\n") {
            let digits = std::str::from_utf8(&self.input[..line]).expect("a chunk size");
            let length = usize::from_str_radix(digits, 16).expect("a chunk size");
            let (from, to) = (line + 2, line + 2 + length);
            if self.input.len() < to + 2 {
                return;
            }
            assert_eq!(&self.input[to..to + 2], b"\r\n");
            self.body.extend_from_slice(&self.input[from..to]);
            self.input.drain(..to + 2);
            if length == 0 {
                assert!(self.input.is_empty(), "bytes after the last chunk");
                self.has_ended = true;
                return;
            }
        }
    }

    /// `false` at the end of the stream.
    fn fill(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Some(left.max(Duration::from_millis(1)));
        self.stream.set_read_timeout(timeout).expect("a timeout");
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece) {
            Ok(count) => {
                self.input.extend_from_slice(&piece[..count]);
                count > 0
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("expected more, got {:?}", self.unparsed())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(_) => false,
        }
    }

    fn unparsed(&self) -> (String, String) {
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (lossy(&self.body), lossy(&self.input))
    }
}

fn request(addr: SocketAddr, path: &str, version: &str, fields: &[(&str, &str)]) -> String {
    let fields = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"));
    let fields: String = fields.collect();
    format!(
        "GET {path} HTTP/{version}\r\nHost: {addr}\r\nAccept: text/event-stream\r\n{fields}\r\n"
    )
}

fn head_length(input: &[u8]) -> Option<usize> {
    find(input, b"\r\n\r\n").map(|at| at + 4)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Parses a block by the rules of the standard, as far as the server may use them.
fn parse(block: &str) -> StreamEvent {
    let mut event = StreamEvent::default();
    let mut data = Vec::new();
    for line in block.trim_end_matches('\n').split('\n') {
        if let Some(comment) = line.strip_prefix(": ") {
            event.comment = Some(comment.to_owned());
            continue;
        }
        let (field, value) = line.split_once(": ").unwrap_or_else(|| panic!("{block:?}"));
        match field {
            "retry" => event.retry = Some(value.parse().expect("milliseconds")),
            "id" => event.id = Some(value.to_owned()),
            "event" => event.name = value.to_owned(),
            "data" => data.push(value),
            _ => panic!("an unknown field in {block:?}"),
        }
    }
    if data.is_empty() {
        assert_eq!(event.name, "", "{block:?}");
        return event;
    }
    event.text = data.join("\n");
    check_frame(&event.text);
    event.data = serde_json::from_str(&event.text).unwrap_or(Value::Null);
    if !event.data.is_null() {
        check_name(&event);
        assert_timestamp(&event.data["ts"]);
    }
    event
}

/// The name is the type of the frame, but for gaps and errors; the id is the position after it.
fn check_name(event: &StreamEvent) {
    let data = &event.data;
    let kind = data["type"].as_str().expect("a type");
    let name = match kind {
        _ if data.get("gap").is_some() => "gap",
        "error" => "failure",
        kind => kind,
    };
    assert_eq!(event.name, name, "{event:?}");
    let position = match name {
        "event" => data["seq"].as_u64(),
        "gap" => data["gap"]["to_seq"].as_u64().or(data["seq"].as_u64()),
        _ => return,
    };
    let id = event.id.as_deref().and_then(|id| id.split_once(':'));
    let seq = id.map(|(_, seq)| seq.parse().expect("a seq"));
    assert_eq!(seq, position, "{event:?}");
}
