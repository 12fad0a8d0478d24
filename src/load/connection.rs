//! A TCP connection of a load generator, and WebSocket frames on it: as little work per message as can be, so that the figures are
//! the server's.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::Failure;

const DEADLINE: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 16 << 10;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The opcodes of frames.
pub mod opcode {
    pub const TEXT: u8 = 1;
    pub const CLOSE: u8 = 8;
    pub const PING: u8 = 9;
    pub const PONG: u8 = 10;
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// Received bytes; those before `taken` are done with.
    input: Vec<u8>,
    taken: usize,
    output: Vec<u8>,
}

/// What a blocking read came to.
#[derive(Debug)]
pub enum Incoming<'a> {
    Text(&'a [u8]),
    /// Nothing came in the time of [`Connection::set_idle_time`].
    Idle,
    /// The connection has ended, with this code if there was a close frame.
    Closed(Option<u16>),
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Connection {
    /// Connects. A small receive buffer keeps the kernel from holding much for a client that does not read.
    pub fn open(server: SocketAddr, receive_buffer_bytes: Option<usize>) -> io::Result<Connection> {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
        if let Some(bytes) = receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.connect(&server.into())?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Connection {
            stream,
            input: Vec::new(),
            taken: 0,
            output: Vec::new(),
        })
    }

    /// Makes a WebSocket of the connection.
    pub fn upgrade(&mut self, path: &str, key: Option<&str>) -> Result<(), Failure> {
        let host = self.stream.peer_addr()?;
        let key = key.map_or(String::new(), |key| format!("X-API-Key: {key}\r\n"));
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{key}\r\n"
        );
        let head = self.exchange(request.as_bytes(), END_OF_HEAD)?;
        match head.starts_with(b"HTTP/1.1 101") {
            true => Ok(()),
            false => Err(format!("no upgrade: {}", String::from_utf8_lossy(&head)).into()),
        }
    }

    /// Sends a request and reads an answer up to `end`. What follows it is read later.
    pub fn exchange(&mut self, request: &[u8], end: &[u8]) -> io::Result<Vec<u8>> {
        self.stream.write_all(request)?;
        loop {
            let unread = &self.input[self.taken..];
            if let Some(at) = unread.windows(end.len()).position(|bytes| bytes == end) {
                let answer = unread[..at + end.len()].to_vec();
                self.taken += answer.len();
                return Ok(answer);
            }
            if self.receive()? == 0 {
                let answer = String::from_utf8_lossy(&self.input[self.taken..]);
                let what = format!("the connection ended after: {answer}");
                return Err(io::Error::new(ErrorKind::UnexpectedEof, what));
            }
        }
    }

    /// What [`Connection::send`] sends next.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Adds a text message to the output.
    pub fn add_text(&mut self, text: &[u8]) {
        append_frame(opcode::TEXT, &[text], &mut self.output);
    }

    /// Sends the output, and waits until the socket has taken it.
    pub fn send(&mut self) -> io::Result<()> {
        let sent = self.stream.write_all(&self.output);
        self.output.clear();
        sent
    }

    /// Sends of the output what a non-blocking socket takes at once; returns whether that was all.
    pub fn send_some(&mut self) -> io::Result<bool> {
        match self.stream.write(&self.output) {
            Ok(written) => drop(self.output.drain(..written)),
            Err(error) if is_not_ready(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(self.output.is_empty())
    }

    /// From here on [`Connection::read_text`] waits no longer than this.
    pub fn set_idle_time(&self, time: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(time))
    }

    /// From here on no call waits.
    pub fn set_nonblocking(&self) -> io::Result<()> {
        self.stream.set_nonblocking(true)
    }

    /// Ends the connection as a broken network would.
    pub fn cut(&self) {
        // It may have ended already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Waits for the next text message. Answers pings.
    pub fn read_text(&mut self) -> Incoming<'_> {
        loop {
            let Some((opcode, payload)) = first_frame(&self.input[self.taken..]) else {
                match self.receive() {
                    Ok(0) => return Incoming::Closed(None),
                    Ok(_) => continue,
                    Err(error) if is_not_ready(&error) => return Incoming::Idle,
                    Err(_) => return Incoming::Closed(None),
                }
            };
            let payload = self.taken + payload.start..self.taken + payload.end;
            self.taken = payload.end;
            match opcode {
                opcode::TEXT => return Incoming::Text(&self.input[payload]),
                opcode::CLOSE => {
                    let code = self.input[payload].first_chunk();
                    return Incoming::Closed(code.map(|code| u16::from_be_bytes(*code)));
                }
                opcode::PING => {
                    append_frame(opcode::PONG, &[&self.input[payload]], &mut self.output);
                    // If the connection has ended, the next read says so.
                    let _ = self.send();
                }
                _ => {}
            }
        }
    }

    fn receive(&mut self) -> io::Result<usize> {
        let mut chunk = [0; READ_BYTES];
        let count = self.stream.read(&mut chunk)?;
        self.input.drain(..self.taken);
        self.taken = 0;
        self.input.extend_from_slice(&chunk[..count]);
        Ok(count)
    }

    /// Reads once from a non-blocking socket, and passes on all unread bytes. `take` returns how many of them it is done with.
    pub fn read_some(
        &mut self,
        scratch: &mut [u8],
        take: impl FnOnce(&[u8]) -> Result<usize, Failure>,
    ) -> Result<(), Failure> {
        let count = match self.stream.read(scratch) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(count) => count,
            Err(error) if is_not_ready(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let fresh = &scratch[..count];
        if self.taken == self.input.len() {
            self.input.clear();
            self.taken = 0;
            let done = take(fresh)?;
            self.input.extend_from_slice(&fresh[done..]);
        } else {
            self.input.extend_from_slice(fresh);
            self.taken += take(&self.input[self.taken..])?;
            self.input.drain(..self.taken);
            self.taken = 0;
        }
        Ok(())
    }
}

fn is_not_ready(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// Appends a masked frame with this payload, given in parts.
pub fn append_frame(opcode: u8, parts: &[&[u8]], out: &mut Vec<u8>) {
    out.push(FIN | opcode);
    match parts.iter().map(|part| part.len()).sum() {
        length @ 0..=125 => out.push(MASKED | length as u8),
        length @ 126..=0xffff => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let start = out.len();
    for part in parts {
        out.extend_from_slice(part);
    }
    for (index, byte) in out[start..].iter_mut().enumerate() {
        *byte ^= MASK[index % 4];
    }
}

/// Opcode and payload of the unmasked frame that the bytes begin with, if all of it is there.
pub fn first_frame(bytes: &[u8]) -> Option<(u8, Range<usize>)> {
    let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
    let (length, start): (usize, usize) = match second & 0x7f {
        126 => (u16::from_be_bytes(*rest.first_chunk()?).into(), 4),
        127 => {
            let length = u64::from_be_bytes(*rest.first_chunk()?);
            (usize::try_from(length).ok()?, 10)
        }
        short => (short.into(), 2),
    };
    let end = start.checked_add(length)?;
    (bytes.len() >= end).then_some((first & 0x0f, start..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_whole_only_with_its_last_byte() {
        for length in [0_usize, 125, 126, 65_535, 65_536] {
            let mut frame = Vec::new();
            append_frame(opcode::TEXT, &[&vec![b'a'; length]], &mut frame);
            // As a server would send it: without the mask.
            let header = frame.len() - length - MASK.len();
            frame.drain(header..header + MASK.len());
            frame[1] &= !MASKED;
            assert_eq!(
                first_frame(&frame),
                Some((opcode::TEXT, header..header + length))
            );
            assert_eq!(first_frame(&frame[..frame.len() - 1]), None);
        }
    }
}
