//! One publisher over REST on a kept-alive connection, written and read without blocking.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use super::Failure;
use super::client::would_block;

/// A connection to the REST interface.
#[derive(Debug)]
pub(crate) struct RestClient {
    stream: TcpStream,
    /// The start of an answer whose rest has not come yet.
    partial: Vec<u8>,
}

impl AsFd for RestClient {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl RestClient {
    pub(crate) fn connect(server: SocketAddr) -> Result<RestClient, Failure> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(RestClient {
            stream,
            partial: Vec::new(),
        })
    }

    /// Writes what the socket takes at once; returns how much that was.
    pub(crate) fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stream.write(bytes) {
            Err(error) if would_block(&error) => Ok(0),
            written => written,
        }
    }

    /// Reads once; returns how many answers are whole now. One that is not 201 is a failure.
    pub(crate) fn read_answers(&mut self, scratch: &mut [u8]) -> Result<usize, Failure> {
        match self.stream.read(scratch) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(count) => self.partial.extend_from_slice(&scratch[..count]),
            Err(error) if would_block(&error) => return Ok(0),
            Err(error) => return Err(error.into()),
        }
        let mut answers = 0;
        while let Some(end) = whole_answer(&self.partial)? {
            self.partial.drain(..end);
            answers += 1;
        }
        Ok(answers)
    }
}

/// Where the answer at the start of a buffer ends, if it is there whole.
fn whole_answer(bytes: &[u8]) -> Result<Option<usize>, Failure> {
    let Some(head_end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..head_end])?;
    if !head.starts_with("HTTP/1.1 201 ") {
        return Err(format!("not published: {}", String::from_utf8_lossy(bytes)).into());
    }
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .ok_or("an answer without Content-Length")?;
    let end = head_end + 4 + length.1.trim().parse::<usize>()?;
    Ok((bytes.len() >= end).then_some(end))
}
