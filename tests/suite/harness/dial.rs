//! Opening a WebSocket connection: the socket's options and the handshake.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use super::contract::{SentRequest, check_reply};
use super::{DEADLINE, Frame, HttpClient, Reply, WsClient};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const HEAD_END: &[u8] = b"\r\n\r\n";

/// A connection to be opened.
pub(crate) struct Dial {
    addr: SocketAddr,
    target: String,
    fields: String,
    receive_buffer_bytes: Option<usize>,
    early: Vec<u8>,
}

impl Dial {
    pub(crate) fn to(addr: SocketAddr) -> Dial {
        Dial {
            addr,
            target: "/ws".to_owned(),
            fields: String::new(),
            receive_buffer_bytes: None,
            early: Vec::new(),
        }
    }

    /// Another target than `/ws`, such as one with a query.
    pub(crate) fn target(mut self, target: &str) -> Dial {
        self.target = target.to_owned();
        self
    }

    /// One more header field.
    pub(crate) fn field(mut self, name: &str, value: &str) -> Dial {
        self.fields.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// Sets a small kernel receive buffer, so that a client that stops reading soon blocks the server.
    pub(crate) fn receive_buffer(mut self, bytes: usize) -> Dial {
        self.receive_buffer_bytes = Some(bytes);
        self
    }

    /// A frame sent in the same packet as the handshake.
    pub(crate) fn early(mut self, frame: &Frame) -> Dial {
        self.early.extend(frame.masked());
        self
    }

    /// The head of a valid handshake without its final empty line.
    pub(crate) fn request_fields(addr: SocketAddr) -> String {
        format!(
            "GET /ws HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
        )
    }

    /// The whole request.
    pub(crate) fn request(&self) -> String {
        let request = Dial::request_fields(self.addr) + &self.fields + "\r\n";
        request.replacen("/ws", &self.target, 1)
    }

    pub(crate) fn connect(self) -> WsClient {
        let opened = self.try_connect();
        opened.unwrap_or_else(|error| panic!("no WebSocket: {error}"))
    }

    /// Like [`Dial::connect`], with an error if the server is not there or ends the connection in the handshake.
    pub(crate) fn try_connect(self) -> io::Result<WsClient> {
        let mut stream = self.socket()?;
        let mut request = self.request().into_bytes();
        request.extend(&self.early);
        stream.write_all(&request)?;
        let rest = read_switch(&mut stream)?;
        Ok(WsClient::new(stream, rest))
    }

    /// The status with which the server refuses the handshake.
    pub(crate) fn refused_status(self) -> u16 {
        let mut http = HttpClient::connect(self.addr);
        http.send_raw(self.request().as_bytes());
        http.read_reply().status
    }

    fn socket(&self) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(self.addr), Type::STREAM, None)?;
        if let Some(bytes) = self.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.connect(&self.addr.into())?;
        socket.set_tcp_nodelay(true)?;
        socket.set_write_timeout(Some(DEADLINE))?;
        socket.set_read_timeout(Some(DEADLINE))?;
        Ok(socket.into())
    }
}

/// Reads and checks the response to the handshake, and returns the bytes behind it.
fn read_switch(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut input = Vec::new();
    let mut piece = [0; 1024];
    loop {
        if let Some(end) = input.windows(4).position(|window| window == HEAD_END) {
            let rest = input.split_off(end + HEAD_END.len());
            check_switch(&String::from_utf8_lossy(&input));
            check_documented(&input);
            return Ok(rest);
        }
        match stream.read(&mut piece)? {
            0 => {
                let received = String::from_utf8_lossy(&input);
                let text = format!("closed in the handshake after {received:?}");
                return Err(io::Error::new(ErrorKind::UnexpectedEof, text));
            }
            count => input.extend(&piece[..count]),
        }
    }
}

fn check_documented(head: &[u8]) {
    let request = SentRequest {
        method: "GET".to_owned(),
        path: "/ws".to_owned(),
        body: String::new(),
    };
    let (reply, _) = Reply::parse(head, false).expect("a whole head");
    check_reply(Some(&request), &reply);
}

fn check_switch(head: &str) {
    assert!(
        head.starts_with("HTTP/1.1 101 "),
        "the handshake was answered with {head:?}"
    );
    let accept = |line: &str| {
        line.split_once(": ").is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("Sec-WebSocket-Accept") && value == ACCEPT
        })
    };
    assert!(
        head.split("\r\n").any(accept),
        "no right accept key in {head:?}"
    );
}
