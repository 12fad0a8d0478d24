//! A WebSocket client at the frame level: sends any bytes, reads frames in order, each read with a deadline.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::contract::{Requests, check_frame, is_close_code};
use super::{DEADLINE, Frame, Opcode, Pace};

const READ_BYTES: usize = 16 << 10;
const KEPT_SENT_BYTES: usize = 1 << 10;

/// A message or frame from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Incoming {
    Text(String),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// A close frame with its code.
    Close(Option<u16>),
    /// The end of the stream, by an orderly close or a reset.
    End,
}

/// One connection to `/ws`.
pub(crate) struct WsClient {
    stream: TcpStream,
    input: Vec<u8>,
    parsed: usize,
    /// Texts received before the reply to a request, oldest first.
    pub(super) set_aside: VecDeque<String>,
    pub(super) requests_sent: u64,
    last: Option<Incoming>,
    was_reset: bool,
    unanswered: Requests,
    /// The newest bytes sent.
    sent: Vec<u8>,
    /// Bytes received after the handshake, and bytes sent.
    pub(crate) bytes_received: usize,
    pub(crate) bytes_sent: usize,
    pace: Option<Pace>,
}

impl WsClient {
    pub(super) fn new(stream: TcpStream, input: Vec<u8>) -> WsClient {
        WsClient {
            bytes_received: input.len(),
            bytes_sent: 0,
            pace: None,
            stream,
            input,
            parsed: 0,
            set_aside: VecDeque::new(),
            requests_sent: 0,
            last: None,
            was_reset: false,
            unanswered: Requests::default(),
            sent: Vec::new(),
        }
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.remember(bytes);
        self.bytes_sent += bytes.len();
        self.stream
            .write_all(bytes)
            .expect("the server takes bytes");
    }

    fn remember(&mut self, bytes: &[u8]) {
        let newest = bytes.len().saturating_sub(KEPT_SENT_BYTES);
        self.sent.extend(&bytes[newest..]);
        let surplus = self.sent.len().saturating_sub(KEPT_SENT_BYTES);
        self.sent.drain(..surplus);
    }

    /// Sends until the server stops reading; `false` if it refused something.
    pub(crate) fn try_send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.remember(bytes);
        self.stream.write_all(bytes).is_ok()
    }

    pub(crate) fn send_frame(&mut self, frame: &Frame) {
        self.send_bytes(&frame.masked());
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        self.unanswered.sent(text);
        self.send_frame(&Frame::text(text));
    }

    /// The next text that was not returned yet; anything else fails the test.
    pub(crate) fn next_text(&mut self) -> String {
        match self.set_aside.pop_front() {
            Some(text) => text,
            None => self.fresh_text("a text"),
        }
    }

    /// Discards messages from before the last reply: they belong to an earlier subscription.
    pub(crate) fn discard_earlier(&mut self) {
        self.set_aside.clear();
    }

    /// The next text from the socket, without those set aside; answers pings.
    pub(super) fn fresh_text(&mut self, expected: &str) -> String {
        loop {
            match self.receive(expected) {
                Incoming::Text(text) => return text,
                Incoming::Ping(payload) => self.send_frame(&Frame::new(Opcode::Pong, &payload)),
                other => panic!("expected {expected}, got {other:?}"),
            }
        }
    }

    /// The next message or frame from the socket.
    pub(crate) fn receive(&mut self, expected: &str) -> Incoming {
        self.receive_within(DEADLINE).unwrap_or_else(|| {
            panic!(
                "expected {expected}, got nothing; the last was {:?}",
                self.last
            )
        })
    }

    /// The next message or frame from the socket, or `None` after `timeout`.
    pub(crate) fn receive_within(&mut self, timeout: Duration) -> Option<Incoming> {
        let deadline = Instant::now() + timeout;
        let mut is_first_look = true;
        let incoming = loop {
            if let Some((frame, length)) = Frame::parse(&self.input[self.parsed..]) {
                self.parsed += length;
                break incoming(&frame);
            }
            // The deadline also holds while parts of a frame keep arriving.
            if !is_first_look && Instant::now() >= deadline {
                return None;
            }
            is_first_look = false;
            match self.fill(deadline)? {
                0 => break Incoming::End,
                _ => continue,
            }
        };
        self.check(&incoming);
        self.last = Some(incoming.clone());
        Some(incoming)
    }

    /// Checks a message against the contract; a close code sent by this client may be echoed.
    fn check(&mut self, incoming: &Incoming) {
        match incoming {
            Incoming::Text(text) => self.unanswered.answered(&check_frame(text)),
            Incoming::Close(Some(code)) => assert!(
                is_close_code(*code) || has_close_frame(&self.sent, *code),
                "close code {code} is not in the contract"
            ),
            _ => {}
        }
    }

    /// Reads to the close frame, past texts and pings; returns its code.
    pub(crate) fn close_code(&mut self) -> Option<u16> {
        loop {
            match self.receive("a close frame") {
                Incoming::Close(code) => return code,
                Incoming::End => panic!("the stream ended without a close frame"),
                _ => continue,
            }
        }
    }

    /// Asserts that the stream ends; frames may come before.
    pub(crate) fn expect_end(&mut self) {
        while self.receive("the end of the stream") != Incoming::End {}
    }

    /// Asserts that the stream ends now and without a reset, which could discard data.
    pub(crate) fn expect_orderly_end(&mut self) {
        assert_eq!(self.receive("the end of the stream"), Incoming::End);
        assert!(!self.was_reset, "reset after {:?}", self.last);
    }

    /// Performs the closing handshake of RFC 6455.
    pub(crate) fn close(mut self) {
        self.send_frame(&Frame::close(1000));
        assert_eq!(self.close_code(), Some(1000));
        self.expect_end();
    }

    /// Closes the sending side without a close frame.
    pub(crate) fn finish_sending(&self) {
        let shut = self.stream.shutdown(std::net::Shutdown::Write);
        shut.expect("the connection is open");
    }

    /// Reads and discards one byte if there is one; frames cannot be parsed afterwards.
    pub(crate) fn read_one_byte(&mut self) {
        self.stream
            .set_nonblocking(true)
            .expect("non-blocking mode");
        let _nothing = self.stream.read(&mut [0]);
        self.stream
            .set_nonblocking(false)
            .expect("non-blocking mode");
    }

    /// Ends the connection with a TCP reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("linger can be set");
    }

    /// Limits reading to this rate from now on, or lifts the limit.
    pub(crate) fn read_at(&mut self, pace: Option<Pace>) {
        self.pace = pace;
    }

    /// Bytes read, 0 at the end of the stream, `None` at the deadline.
    fn fill(&mut self, deadline: Instant) -> Option<usize> {
        self.input.drain(..self.parsed);
        self.parsed = 0;
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = left.max(Duration::from_millis(1));
        self.stream
            .set_read_timeout(Some(timeout))
            .expect("a read timeout");
        let mut piece = [0; READ_BYTES];
        let most = self.pace.map_or(READ_BYTES, |pace| pace.next());
        match self.stream.read(&mut piece[..most.min(READ_BYTES)]) {
            Ok(count) => {
                self.input.extend(&piece[..count]);
                self.bytes_received += count;
                self.pace.iter_mut().for_each(|pace| pace.taken(count));
                Some(count)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                None
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => self.fill(deadline),
            Err(_) => {
                self.was_reset = true;
                Some(0)
            }
        }
    }
}

/// Whether `sent` contains a close frame with this code.
fn has_close_frame(sent: &[u8], code: u16) -> bool {
    let mut pieces = sent.windows(8);
    pieces.any(|piece| {
        let unmasked = [piece[6] ^ piece[2], piece[7] ^ piece[3]];
        piece[0] == 0x88 && piece[1] > 0x80 && unmasked == code.to_be_bytes()
    })
}

fn incoming(frame: &Frame) -> Incoming {
    assert!(
        frame.is_plain(),
        "the server negotiated no extension, but sent {frame:?}"
    );
    let payload = frame.payload.clone();
    match frame.opcode() {
        code if code == Opcode::Text as u8 => {
            Incoming::Text(String::from_utf8(payload).expect("text is UTF-8"))
        }
        code if code == Opcode::Ping as u8 => Incoming::Ping(payload),
        code if code == Opcode::Pong as u8 => Incoming::Pong(payload),
        code if code == Opcode::Close as u8 => {
            Incoming::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code)))
        }
        other => panic!("the server sent opcode {other}"),
    }
}
