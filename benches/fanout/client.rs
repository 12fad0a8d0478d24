//! One WebSocket client: set up with blocking calls, then read and written without blocking.
//! Knows frames, not what is in them; control frames of the server are passed over.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::Failure;
use super::template::masked_text_frame;

const SET_UP_DEADLINE: Duration = Duration::from_secs(30);
const OPCODE_TEXT: u8 = 1;
const OPCODE_CLOSE: u8 = 8;

/// A connection to `/ws`.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    /// The start of a frame whose rest has not come yet.
    partial: Vec<u8>,
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Client {
    /// Connects and upgrades; `receive_buffer_bytes` keeps the kernel from holding much for a client that never reads.
    pub(crate) fn connect(
        server: SocketAddr,
        receive_buffer_bytes: Option<usize>,
    ) -> Result<Client, Failure> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if let Some(bytes) = receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.connect(&server.into())?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SET_UP_DEADLINE))?;
        let mut client = Client {
            stream,
            partial: Vec::new(),
        };
        client.upgrade(server)?;
        Ok(client)
    }

    fn upgrade(&mut self, server: SocketAddr) -> Result<(), Failure> {
        write!(
            self.stream,
            "GET /ws HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )?;
        let end = loop {
            self.read_more()?;
            if let Some(at) = self.partial.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
        };
        if !self.partial.starts_with(b"HTTP/1.1 101") {
            return Err(format!("no upgrade: {}", String::from_utf8_lossy(&self.partial)).into());
        }
        self.partial.drain(..end);
        Ok(())
    }

    /// Subscribes and waits for the ack.
    pub(crate) fn subscribe(&mut self, topic: &str, client_id: &str) -> Result<(), Failure> {
        let request =
            format!(r#"{{"type":"subscribe","topic":"{topic}","client_id":"{client_id}"}}"#);
        self.stream
            .write_all(&masked_text_frame(request.as_bytes()))?;
        loop {
            if let Some(Frame { payload, end, .. }) = whole_frame(&self.partial) {
                let answer = &self.partial[payload..end];
                if !answer.starts_with(br#"{"type":"ack""#) {
                    return Err(format!("no ack: {}", String::from_utf8_lossy(answer)).into());
                }
                self.partial.drain(..end);
                return Ok(());
            }
            self.read_more()?;
        }
    }

    fn read_more(&mut self) -> Result<(), Failure> {
        let mut chunk = [0; 4096];
        let count = self.stream.read(&mut chunk)?;
        if count == 0 {
            return Err("the server closed the connection during set-up".into());
        }
        self.partial.extend_from_slice(&chunk[..count]);
        Ok(())
    }

    /// Ends the set-up: from here no call blocks.
    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        self.stream.set_nonblocking(true)
    }

    /// Writes what the socket takes at once; returns how much that was.
    pub(crate) fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stream.write(bytes) {
            Err(error) if would_block(&error) => Ok(0),
            written => written,
        }
    }

    /// Reads once and hands over every whole text frame.
    pub(crate) fn read_frames(
        &mut self,
        scratch: &mut [u8],
        on_text: &mut impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let count = match self.stream.read(scratch) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(count) => count,
            Err(error) if would_block(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let fresh = &scratch[..count];
        if self.partial.is_empty() {
            let used = each_frame(fresh, on_text)?;
            self.partial.extend_from_slice(&fresh[used..]);
        } else {
            self.partial.extend_from_slice(fresh);
            let used = each_frame(&self.partial, on_text)?;
            self.partial.drain(..used);
        }
        Ok(())
    }

    /// Reads once, as a publisher; returns how many messages were acknowledged. Anything else is a failure.
    pub(crate) fn read_acks(&mut self, scratch: &mut [u8]) -> Result<usize, Failure> {
        let mut acks = 0;
        self.read_frames(scratch, &mut |frame| {
            if !frame.starts_with(br#"{"type":"ack""#) {
                return Err(format!("no ack: {}", String::from_utf8_lossy(frame)).into());
            }
            acks += 1;
            Ok(())
        })?;
        Ok(acks)
    }
}

pub(crate) fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Hands over the text frames that are whole; returns how many bytes they took.
fn each_frame(
    bytes: &[u8],
    on_text: &mut impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<usize, Failure> {
    let mut at = 0;
    while let Some(Frame {
        opcode,
        payload,
        end,
    }) = whole_frame(&bytes[at..])
    {
        match opcode {
            OPCODE_TEXT => on_text(&bytes[at + payload..at + end])?,
            OPCODE_CLOSE => return Err("the server sent a close frame".into()),
            _ => {}
        }
        at += end;
    }
    Ok(at)
}

/// A frame at the start of a buffer: where its payload begins and ends.
#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: u8,
    payload: usize,
    end: usize,
}

fn whole_frame(bytes: &[u8]) -> Option<Frame> {
    let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
    let (length, payload): (usize, usize) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (
            usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?,
            10,
        ),
        short => (usize::from(short), 2),
    };
    let end = payload.checked_add(length)?;
    (bytes.len() >= end).then_some(Frame {
        opcode: first & 0x0f,
        payload,
        end,
    })
}
