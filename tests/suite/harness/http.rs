//! An HTTP/1.1 client over one kept connection: sends any bytes, reads parsed responses, each with a deadline.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};

use super::contract::{Sent, check_reply};
use super::{DEADLINE, Pace, Reply, WsClient};

/// One connection.
pub(crate) struct HttpClient {
    stream: TcpStream,
    addr: SocketAddr,
    input: Vec<u8>,
    /// Requests not answered yet.
    sent: Sent,
    pace: Option<Pace>,
}

impl HttpClient {
    pub(crate) fn connect(addr: SocketAddr) -> HttpClient {
        HttpClient::try_connect(addr).expect("the server listens")
    }

    pub(crate) fn try_connect(addr: SocketAddr) -> std::io::Result<HttpClient> {
        let stream = TcpStream::connect_timeout(&addr, DEADLINE)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(HttpClient::over(stream, addr))
    }

    /// A connection with a small kernel receive buffer: a client that does not read soon blocks the server.
    pub(crate) fn with_small_buffer(addr: SocketAddr) -> HttpClient {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4 << 10).expect("a buffer size");
        socket.connect(&addr.into()).expect("the server listens");
        HttpClient::over(socket.into(), addr)
    }

    fn over(stream: TcpStream, addr: SocketAddr) -> HttpClient {
        HttpClient {
            stream,
            addr,
            input: Vec::new(),
            sent: Sent::default(),
            pace: None,
        }
    }

    pub(crate) fn get(&mut self, path: &str) -> Reply {
        self.request("GET", path, &[], "")
    }

    pub(crate) fn delete(&mut self, path: &str) -> Reply {
        self.request("DELETE", path, &[], "")
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Reply {
        self.post_text(path, &body.to_string())
    }

    pub(crate) fn patch(&mut self, path: &str, body: &Value) -> Reply {
        let fields = [("Content-Type", "application/json")];
        self.request("PATCH", path, &fields, &body.to_string())
    }

    pub(crate) fn post_text(&mut self, path: &str, body: &str) -> Reply {
        self.request("POST", path, &[("Content-Type", "application/json")], body)
    }

    /// Sends one request and reads its response.
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.addr);
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || method == "POST" {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        self.send_raw(format!("{head}\r\n{body}").as_bytes());
        self.read_reply_to(method)
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.sent.push(bytes);
        self.stream
            .write_all(bytes)
            .expect("the server takes bytes");
    }

    /// Sends until the server stops reading: it may have responded already.
    pub(crate) fn try_send_raw(&mut self, bytes: &[u8]) {
        self.sent.push(bytes);
        let _refused = self.stream.write_all(bytes);
    }

    /// Closes the sending side; reading goes on.
    pub(crate) fn finish_sending(&mut self) {
        self.stream
            .shutdown(Shutdown::Write)
            .expect("the connection is open");
    }

    /// Ends the connection with a TCP reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("linger can be set");
    }

    /// Reads and discards one byte if there is one.
    pub(crate) fn read_one_byte(&mut self) {
        self.stream
            .set_nonblocking(true)
            .expect("non-blocking mode");
        let _nothing = self.stream.read(&mut [0]);
        self.stream
            .set_nonblocking(false)
            .expect("non-blocking mode");
    }

    /// Sends `bytes` repeatedly until the server reads nothing for `timeout` or closes; returns the bytes sent.
    pub(crate) fn send_until_refused(&mut self, bytes: &[u8], timeout: Duration) -> usize {
        self.stream
            .set_write_timeout(Some(timeout))
            .expect("a write timeout");
        let mut sent = 0;
        while let Ok(count) = self.stream.write(bytes) {
            sent += count;
        }
        sent
    }

    /// The connection after its upgrade.
    pub(crate) fn into_websocket(self) -> WsClient {
        WsClient::new(self.stream, self.input)
    }

    /// Limits reading to this rate from now on.
    pub(crate) fn read_at(&mut self, pace: Pace) {
        self.pace = Some(pace);
    }

    pub(crate) fn read_reply(&mut self) -> Reply {
        self.read_reply_to("GET")
    }

    /// The response to a HEAD.
    pub(crate) fn read_reply_to_head(&mut self) -> Reply {
        self.read_reply_to("HEAD")
    }

    /// The next response, or `None` when the connection ended before it.
    pub(crate) fn try_read_reply(&mut self) -> Option<Reply> {
        self.parse_or_read("GET")
    }

    fn read_reply_to(&mut self, method: &str) -> Reply {
        let reply = self.parse_or_read(method);
        reply.unwrap_or_else(|| {
            panic!(
                "expected a response, the stream ended after {}",
                self.unparsed()
            )
        })
    }

    fn parse_or_read(&mut self, method: &str) -> Option<Reply> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some((reply, length)) = Reply::parse(&self.input, method == "HEAD") {
                self.input.drain(..length);
                self.check(&reply);
                return Some(reply);
            }
            if self.fill(deadline) == 0 {
                return None;
            }
        }
    }

    /// Everything the server sends until it closes the connection.
    pub(crate) fn read_to_end(mut self) -> String {
        let deadline = Instant::now() + DEADLINE;
        while self.fill(deadline) > 0 {}
        String::from_utf8_lossy(&self.input).into_owned()
    }

    fn check(&mut self, reply: &Reply) {
        // An interim response does not answer the request.
        if reply.status != 100 {
            check_reply(self.sent.take().as_ref(), reply);
        }
    }

    /// Whether there is input, without waiting.
    pub(crate) fn has_input(&self) -> bool {
        self.stream
            .set_nonblocking(true)
            .expect("non-blocking mode");
        let seen = self.stream.peek(&mut [0]);
        self.stream
            .set_nonblocking(false)
            .expect("non-blocking mode");
        seen.is_ok()
    }

    /// Asserts that the server closes the connection without another byte.
    pub(crate) fn expect_end(&mut self) {
        let count = self.fill(Instant::now() + DEADLINE);
        assert!(
            count == 0 && self.input.is_empty(),
            "expected the end, got {}",
            self.unparsed()
        );
    }

    /// Bytes read, 0 at the end of the stream.
    fn fill(&mut self, deadline: Instant) -> usize {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = left.max(Duration::from_millis(1));
        self.stream
            .set_read_timeout(Some(timeout))
            .expect("a read timeout");
        let mut piece = [0; 16 << 10];
        let most = self.pace.map_or(piece.len(), |pace| pace.next());
        let most = most.min(piece.len());
        match self.stream.read(&mut piece[..most]) {
            Ok(count) => {
                self.input.extend(&piece[..count]);
                self.pace.iter_mut().for_each(|pace| pace.taken(count));
                count
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => self.fill(deadline),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("expected a response or the end, got {}", self.unparsed())
            }
            Err(_) => 0,
        }
    }

    fn unparsed(&self) -> String {
        format!("{:?}", String::from_utf8_lossy(&self.input))
    }
}
