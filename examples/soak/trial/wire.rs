//! One WebSocket connection written by hand: it can be cut, has a receive buffer of a chosen size, and takes no part in
//! what is said. Answers pings when it reads.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::Failure;
use super::message::Said;

/// How long a read waits before it says that nothing came.
const IDLE: Duration = Duration::from_millis(50);
const SET_UP_DEADLINE: Duration = Duration::from_secs(30);
const WRITE_DEADLINE: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 64 << 10;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const FIN: u8 = 0x80;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What a read came to.
#[derive(Debug)]
pub(crate) enum Incoming {
    Said(Said),
    /// Nothing came for a while.
    Idle,
    /// The connection is over, with the code of the close frame if there was one.
    Closed(Option<u16>),
}

/// An open connection to `/ws`.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    /// What of the input was read already.
    taken: usize,
    output: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(
        server: SocketAddr,
        receive_buffer_bytes: Option<usize>,
        key: Option<&str>,
    ) -> Result<Connection, Failure> {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
        if let Some(bytes) = receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.connect(&server.into())?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SET_UP_DEADLINE))?;
        stream.set_write_timeout(Some(WRITE_DEADLINE))?;
        let mut connection = Connection {
            stream,
            input: Vec::new(),
            taken: 0,
            output: Vec::new(),
        };
        connection.upgrade(server, key)?;
        connection.stream.set_read_timeout(Some(IDLE))?;
        Ok(connection)
    }

    fn upgrade(&mut self, server: SocketAddr, key: Option<&str>) -> Result<(), Failure> {
        let key = key.map_or(String::new(), |key| format!("X-API-Key: {key}\r\n"));
        write!(
            self.stream,
            "GET /ws HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{key}\r\n"
        )?;
        loop {
            if let Some(at) = self.input.windows(4).position(|four| four == b"\r\n\r\n") {
                self.taken = at + 4;
                break;
            }
            if self.receive()? == 0 {
                return Err("the server closed the connection in the handshake".into());
            }
        }
        if !self.input.starts_with(b"HTTP/1.1 101") {
            return Err(format!("no upgrade: {}", String::from_utf8_lossy(&self.input)).into());
        }
        Ok(())
    }

    /// Adds a text message to what the next [`Connection::send`] sends.
    pub(crate) fn add(&mut self, text: &[u8]) {
        self.add_frame(TEXT, text);
    }

    fn add_frame(&mut self, opcode: u8, payload: &[u8]) {
        self.output.push(FIN | opcode);
        match payload.len() {
            short @ 0..126 => self.output.push(0x80 | short as u8),
            longer => {
                self.output.push(0x80 | 126);
                self.output.extend((longer as u16).to_be_bytes());
            }
        }
        self.output.extend(MASK);
        let masked = payload.iter().zip(MASK.iter().cycle());
        self.output.extend(masked.map(|(byte, key)| byte ^ key));
    }

    /// Sends what was added.
    pub(crate) fn send(&mut self) -> io::Result<()> {
        let sent = self.stream.write_all(&self.output);
        self.output.clear();
        sent
    }

    /// Ends the connection as a broken network would.
    pub(crate) fn cut(&self) {
        // It may be over already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// The next text message.
    pub(crate) fn next(&mut self) -> Incoming {
        loop {
            let Some((opcode, start, end)) = self.frame() else {
                match self.receive() {
                    Ok(0) => return Incoming::Closed(None),
                    Ok(_) => continue,
                    Err(error) if is_timeout(&error) => return Incoming::Idle,
                    Err(_) => return Incoming::Closed(None),
                }
            };
            self.taken = end;
            let payload = &self.input[start..end];
            match opcode {
                TEXT => return Incoming::Said(Said::parse(payload)),
                CLOSE => {
                    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    return Incoming::Closed(code);
                }
                PING => {
                    let payload = payload.to_vec();
                    self.add_frame(PONG, &payload);
                    // Whether it is over is for the next read to find.
                    let _ = self.send();
                }
                _ => {}
            }
        }
    }

    /// Opcode, begin and end of the payload of the next frame, once it is there as a whole.
    fn frame(&self) -> Option<(u8, usize, usize)> {
        let bytes = &self.input[self.taken..];
        let (header, length) = match *bytes.get(1)? {
            126 => (
                4,
                u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?).into(),
            ),
            127 => (
                10,
                u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize,
            ),
            short => (2, usize::from(short)),
        };
        let whole = bytes.len() >= header + length;
        let start = self.taken + header;
        whole.then(|| (bytes[0] & 0x0f, start, start + length))
    }

    fn receive(&mut self) -> io::Result<usize> {
        self.input.drain(..self.taken);
        self.taken = 0;
        let length = self.input.len();
        self.input.resize(length + READ_BYTES, 0);
        let result = self.stream.read(&mut self.input[length..]);
        let count = *result.as_ref().unwrap_or(&0);
        self.input.truncate(length + count);
        result
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
