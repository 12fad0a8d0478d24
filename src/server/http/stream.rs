//! Reads requests from a connection, one after the other, each completely and under an absolute deadline.
//!
//! Owns the bytes that were received but not used yet: pipelined requests, or WebSocket frames behind the
//! handshake. Memory grows with the bytes that arrived, never with an announced length. Sends nothing but
//! `100 Continue`.

use std::io::{self, ErrorKind};
use std::time::Duration;

use super::body::ChunkedDecoder;
use super::deadline::Deadline;
use super::fields::BodyLength;
use super::head::{self, Head};
use super::problem::Problem;
use super::scan::HeadScanner;
use crate::metrics::{Protocol, SharedMetrics};
use crate::server::rest::EventsQuery;
use crate::server::transport::Transport;

const READ_BYTES: usize = 4 * 1024;
/// A long body is read in larger chunks.
const MAX_READ_BYTES: usize = 64 * 1024;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The bounds of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestLimits {
    /// From the first byte of the head to the last of the body.
    pub(crate) request_timeout: Duration,
    /// How long a connection may stay open without a byte of the next request.
    pub(crate) keep_alive: Duration,
    pub(crate) max_body_bytes: usize,
}

/// Why a connection has no further HTTP request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing is sent any more; the text is for the log.
    Closed(&'static str),
    /// The problem is sent, then the connection ends: the start of the next request is unknown.
    Refused(Problem),
    /// The request is for `/ws`, with any method. It has no response yet.
    Upgrade(Box<Head>),
    /// The request is for an event stream, and its key has the right. It has no response yet.
    EventStream(Box<Head>, Box<EventsQuery>),
}

impl From<Problem> for End {
    fn from(problem: Problem) -> End {
        End::Refused(problem)
    }
}

pub(crate) struct RequestStream {
    transport: Transport,
    received: Vec<u8>,
    limits: RequestLimits,
    metrics: SharedMetrics,
    /// Of the head of the first request; `None` once that is read.
    first_head: Option<Deadline>,
    /// Of the request whose head was read last.
    deadline: Deadline,
}

impl RequestStream {
    /// The head of the first request must be there at `first_head`.
    pub(crate) fn new(
        transport: Transport,
        limits: RequestLimits,
        first_head: Deadline,
        metrics: SharedMetrics,
    ) -> RequestStream {
        RequestStream {
            transport,
            received: Vec::new(),
            limits,
            metrics,
            first_head: Some(first_head),
            deadline: Deadline::after(limits.request_timeout),
        }
    }

    /// The bytes behind the last request that was read, without spare capacity.
    pub(crate) fn into_received(mut self) -> Vec<u8> {
        self.received.shrink_to_fit();
        self.received
    }

    /// What was received of a request whose head was refused.
    pub(crate) fn received(&self) -> &[u8] {
        &self.received
    }

    pub(crate) fn read_head(&mut self) -> Result<Head, End> {
        let first_head = self.first_head.take();
        self.wait_for_request(first_head)?;
        self.deadline = Deadline::after(self.limits.request_timeout);
        let deadline = first_head.unwrap_or(self.deadline);
        let mut scanner = HeadScanner::default();
        loop {
            if let Some(length) = scanner.advance(&self.received)? {
                let head = head::parse_scanned(&self.received, scanner, length)?;
                self.received.drain(..length);
                self.received.shrink_to(READ_BYTES);
                return Ok(head);
            }
            self.receive(READ_BYTES, deadline)?;
        }
    }

    /// The body of the request whose head was read last.
    pub(crate) fn read_body(&mut self, head: &Head) -> Result<Vec<u8>, End> {
        match head.body {
            BodyLength::None => Ok(Vec::new()),
            BodyLength::Bytes(length) => {
                let length = self.admit(length)?;
                self.send_continue(head)?;
                self.read_sized(length)
            }
            BodyLength::Chunked => {
                self.send_continue(head)?;
                self.read_chunked()
            }
        }
    }

    /// Waits for the first byte of a request. Skips one empty line before it (RFC 9112 §2.2).
    fn wait_for_request(&mut self, first_head: Option<Deadline>) -> Result<(), End> {
        let deadline = first_head.unwrap_or_else(|| Deadline::after(self.limits.keep_alive));
        let mut skipped = false;
        loop {
            if !skipped && self.received.starts_with(b"\r\n") {
                self.received.drain(..2);
                skipped = true;
            }
            if !self.received.is_empty() && (skipped || self.received != b"\r") {
                return Ok(());
            }
            match self.read_more(READ_BYTES, deadline) {
                Ok(0) => return Err(End::Closed("closed by the client")),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    return Err(End::Closed(match first_head {
                        Some(_) => "no request in time",
                        None => "idle",
                    }));
                }
                Err(_) => return Err(End::Closed("reset")),
            }
        }
    }

    fn admit(&self, length: u64) -> Result<usize, Problem> {
        let limit = self.limits.max_body_bytes;
        match usize::try_from(length) {
            Ok(length) if length <= limit => Ok(length),
            _ => Err(Problem::payload_too_large(limit)),
        }
    }

    /// Sends nothing to a client that has already sent a part of the body.
    fn send_continue(&self, head: &Head) -> Result<(), End> {
        if !head.expects_continue || !self.received.is_empty() {
            return Ok(());
        }
        self.metrics.http_sent(CONTINUE.len());
        self.transport
            .write_by(CONTINUE, self.deadline)
            .map_err(|_| End::Closed("reset"))
    }

    fn read_sized(&mut self, length: usize) -> Result<Vec<u8>, End> {
        while self.received.len() < length {
            let missing = length - self.received.len();
            self.receive(missing.min(self.chunk_bytes()), self.deadline)?;
        }
        let surplus = self.received.split_off(length);
        Ok(std::mem::replace(&mut self.received, surplus))
    }

    fn read_chunked(&mut self) -> Result<Vec<u8>, End> {
        let mut decoder = ChunkedDecoder::new(self.limits.max_body_bytes);
        let mut body = Vec::new();
        loop {
            let used = decoder.decode(&self.received, &mut body)?;
            self.received.drain(..used);
            if decoder.is_done() {
                return Ok(body);
            }
            self.receive(READ_BYTES, self.deadline)?;
        }
    }

    /// As many bytes again as were received.
    fn chunk_bytes(&self) -> usize {
        self.received.len().clamp(READ_BYTES, MAX_READ_BYTES)
    }

    /// Receives at least one more byte of a request that has begun.
    fn receive(&mut self, at_most: usize, deadline: Deadline) -> Result<(), End> {
        match self.read_more(at_most, deadline) {
            Ok(0) => Err(End::Closed("closed in the middle of a request")),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                Err(Problem::request_timeout().into())
            }
            Err(_) => Err(End::Closed("reset")),
        }
    }

    fn read_more(&mut self, at_most: usize, deadline: Deadline) -> io::Result<usize> {
        let before = self.received.len();
        self.received.resize(before + at_most, 0);
        let buffer = self.received.get_mut(before..).unwrap_or_default();
        let result = self.transport.read_by(buffer, deadline);
        let read = result.as_ref().copied().unwrap_or(0);
        self.received.truncate(before + read);
        self.metrics.received(Protocol::Http, read);
        result
    }
}

#[cfg(test)]
mod tests;
