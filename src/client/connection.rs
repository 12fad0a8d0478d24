//! One open WebSocket with deadlines. Detects a silent peer, and maps the end of a connection to an error.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tungstenite::error::{CapacityError, ProtocolError};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Bytes, Error as WsError, Message, Utf8Bytes};

use super::Error;
use super::connect::Ws;
use super::stream::Stream;

/// How long the closing handshake may take.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The close code of a connection whose key is not valid any more.
const UNAUTHORIZED: u16 = 4001;

#[derive(Debug)]
pub(super) struct Connection {
    ws: Ws,
    heartbeat: Duration,
    write_timeout: Duration,
    opened: Instant,
    /// When a ping was sent that is not answered yet.
    ping_sent: Option<Instant>,
}

/// The outcome of [`Connection::receive`].
#[derive(Debug)]
pub(super) enum Received {
    Text(Utf8Bytes),
    Ping(Bytes),
    Pong,
    /// Nothing for a whole heartbeat: time to send a ping.
    Silence,
    /// Nothing until the deadline.
    Nothing,
}

impl Connection {
    pub(super) fn new(ws: Ws, heartbeat: Duration, write_timeout: Duration) -> Connection {
        Connection {
            ws,
            heartbeat,
            write_timeout,
            opened: Instant::now(),
            ping_sent: None,
        }
    }

    pub(super) fn stream(&self) -> &Arc<Stream> {
        self.ws.get_ref().stream()
    }

    /// Discards everything written here, because another WebSocket writes to the same stream.
    pub(super) fn disable_writing(&mut self) {
        self.ws.get_mut().is_write_disabled = true;
    }

    fn handle(&mut self, message: Message) -> Result<Received, Error> {
        match message {
            Message::Text(text) => Ok(Received::Text(text)),
            Message::Ping(data) => {
                // tungstenite has queued the pong.
                self.ws.flush().map_err(connection_error)?;
                Ok(Received::Ping(data))
            }
            Message::Close(frame) => {
                let _ = self.ws.flush();
                Err(closed(frame))
            }
            Message::Binary(_) => Err(Error::protocol("a binary message")),
            Message::Pong(_) | Message::Frame(_) => Ok(Received::Pong),
        }
    }

    /// When a whole heartbeat will have passed since the last byte or since the last ping.
    fn silent_at(&mut self) -> Instant {
        let last_received = self.ws.get_ref().last_received.unwrap_or(self.opened);
        self.ping_sent = self.ping_sent.filter(|sent| last_received < *sent);
        self.ping_sent.unwrap_or(last_received) + self.heartbeat
    }

    /// Waits for the next text, ping or pong. After an error the connection is unusable.
    pub(super) fn receive(&mut self, until: Option<Instant>) -> Result<Received, Error> {
        loop {
            let silent_at = self.silent_at();
            let socket = self.ws.get_mut();
            socket.read_until = Some(until.map_or(silent_at, |until| until.min(silent_at)));
            socket.write_until = Some(Instant::now() + self.write_timeout);
            match self.ws.read() {
                Ok(message) => return self.handle(message),
                Err(WsError::Io(error)) if is_timeout(error.kind()) => {
                    let now = Instant::now();
                    if until.is_some_and(|until| until <= now) {
                        return Ok(Received::Nothing);
                    }
                    // Bytes arrived, but not yet a whole message.
                    if now < self.silent_at() {
                        continue;
                    }
                    if self.ping_sent.replace(Instant::now()).is_some() {
                        return Err(Error::lost(None, "no answer to pings"));
                    }
                    return Ok(Received::Silence);
                }
                Err(error) => return Err(connection_error(error)),
            }
        }
    }

    pub(super) fn ping(&mut self) -> Result<(), Error> {
        self.send(Message::Ping(Bytes::new()))
    }

    pub(super) fn send(&mut self, message: Message) -> Result<(), Error> {
        self.ws.get_mut().write_until = Some(Instant::now() + self.write_timeout);
        self.ws.send(message).map_err(connection_error)
    }

    /// Does the closing handshake, for at most [`CLOSE_TIMEOUT`].
    pub(super) fn close(mut self) {
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        let socket = self.ws.get_mut();
        (socket.read_until, socket.write_until) = (Some(deadline), Some(deadline));
        if self.ws.close(Some(normal_close())).is_ok() {
            while self.ws.read().is_ok() && Instant::now() < deadline {}
        }
    }
}

pub(super) fn normal_close() -> CloseFrame {
    CloseFrame {
        code: CloseCode::Normal,
        reason: Utf8Bytes::from_static(""),
    }
}

pub(super) fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn closed(frame: Option<CloseFrame>) -> Error {
    let (code, reason) = match frame {
        Some(frame) => (u16::from(frame.code), frame.reason.to_string()),
        None => (1005, "no reason given".to_owned()),
    };
    match code {
        UNAUTHORIZED => Error::refused("UNAUTHORIZED", &reason),
        code => Error::lost(Some(code), reason),
    }
}

/// Maps an error of the WebSocket: the loss of the connection, or a violation of the protocol.
pub(super) fn connection_error(error: WsError) -> Error {
    match error {
        WsError::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            Error::protocol(format!(
                "a message of {size} bytes is larger than {max_size}; raise max_message_bytes()"
            ))
        }
        WsError::Io(error) => Error::lost(None, error.to_string()),
        WsError::ConnectionClosed
        | WsError::AlreadyClosed
        | WsError::Protocol(
            ProtocolError::ResetWithoutClosingHandshake
            | ProtocolError::SendAfterClosing
            | ProtocolError::ReceivedAfterClosing,
        ) => Error::lost(None, "without a close frame"),
        other => Error::protocol(other.to_string()),
    }
}
