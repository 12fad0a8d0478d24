//! One open WebSocket, read under deadlines. Says when the other side has been silent for too long, and why a
//! connection is over.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tungstenite::error::{CapacityError, ProtocolError};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Bytes, Error as WsError, Message, Utf8Bytes};

use super::Error;
use super::dialing::Ws;

/// How long a goodbye may take.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);
/// The close code of a connection whose key is not valid any more.
const UNAUTHORIZED: u16 = 4001;

#[derive(Debug)]
pub(super) struct Line {
    ws: Ws,
    heartbeat: Duration,
    write_timeout: Duration,
    opened: Instant,
    asked: Option<Instant>,
}

/// What came, or did not.
#[derive(Debug)]
pub(super) enum Heard {
    Text(Utf8Bytes),
    Ping(Bytes),
    Pong,
    /// Nothing for a whole heartbeat: time to ask for a sign of life.
    Silence,
    /// Nothing until the deadline.
    Nothing,
}

impl Line {
    pub(super) fn new(ws: Ws, heartbeat: Duration, write_timeout: Duration) -> Line {
        Line {
            ws,
            heartbeat,
            write_timeout,
            opened: Instant::now(),
            asked: None,
        }
    }

    pub(super) fn stream(&self) -> &Arc<TcpStream> {
        self.ws.get_ref().stream()
    }

    /// Leaves all writing to somebody else.
    pub(super) fn mute(&mut self) {
        self.ws.get_mut().is_mute = true;
    }

    fn heard(&mut self, message: Message) -> Result<Heard, Error> {
        match message {
            Message::Text(text) => Ok(Heard::Text(text)),
            Message::Ping(data) => {
                // The pong waits in the buffer until now.
                self.ws.flush().map_err(broken)?;
                Ok(Heard::Ping(data))
            }
            Message::Close(frame) => {
                let _ = self.ws.flush();
                Err(closed(frame))
            }
            Message::Binary(_) => Err(Error::protocol("a binary message")),
            Message::Pong(_) | Message::Frame(_) => Ok(Heard::Pong),
        }
    }

    /// When nothing will have come for a whole heartbeat, since the last byte or since a sign of life was asked for.
    fn silent_at(&mut self) -> Instant {
        let heard = self.ws.get_ref().heard.unwrap_or(self.opened);
        self.asked = self.asked.filter(|asked| heard < *asked);
        self.asked.unwrap_or(heard) + self.heartbeat
    }

    /// Waits for the next text, ping or pong. An error is the end of the connection.
    pub(super) fn receive(&mut self, until: Option<Instant>) -> Result<Heard, Error> {
        loop {
            let silent_at = self.silent_at();
            let socket = self.ws.get_mut();
            socket.read_until = Some(until.map_or(silent_at, |until| until.min(silent_at)));
            socket.write_until = Some(Instant::now() + self.write_timeout);
            match self.ws.read() {
                Ok(message) => return self.heard(message),
                Err(WsError::Io(error)) if is_timeout(error.kind()) => {
                    let now = Instant::now();
                    if until.is_some_and(|until| until <= now) {
                        return Ok(Heard::Nothing);
                    }
                    // Something came meanwhile, if not a whole message.
                    if now < self.silent_at() {
                        continue;
                    }
                    if self.asked.replace(Instant::now()).is_some() {
                        return Err(Error::lost(None, "no answer to pings"));
                    }
                    return Ok(Heard::Silence);
                }
                Err(error) => return Err(broken(error)),
            }
        }
    }

    /// Asks for a sign of life.
    pub(super) fn ping(&mut self) -> Result<(), Error> {
        self.send(Message::Ping(Bytes::new()))
    }

    pub(super) fn send(&mut self, message: Message) -> Result<(), Error> {
        self.ws.get_mut().write_until = Some(Instant::now() + self.write_timeout);
        self.ws.send(message).map_err(broken)
    }

    /// Says goodbye, and waits for the answer as long as a goodbye may take.
    pub(super) fn close(mut self) {
        let deadline = Instant::now() + FAREWELL;
        let socket = self.ws.get_mut();
        (socket.read_until, socket.write_until) = (Some(deadline), Some(deadline));
        if self.ws.close(Some(goodbye())).is_ok() {
            while self.ws.read().is_ok() && Instant::now() < deadline {}
        }
    }
}

pub(super) fn goodbye() -> CloseFrame {
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

/// The end of a connection that nobody announced, or that the server's nonsense brought about.
pub(super) fn broken(error: WsError) -> Error {
    match error {
        WsError::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            Error::protocol(format!(
                "a message of {size} bytes; allow more than {max_size} with max_message_bytes()"
            ))
        }
        WsError::Io(error) => Error::lost(None, error.to_string()),
        WsError::ConnectionClosed
        | WsError::AlreadyClosed
        | WsError::Protocol(
            ProtocolError::ResetWithoutClosingHandshake
            | ProtocolError::SendAfterClosing
            | ProtocolError::ReceivedAfterClosing,
        ) => Error::lost(None, "cut"),
        other => Error::protocol(other.to_string()),
    }
}
