//! One blocking WebSocket connection that carries JSON text. Answers pings by itself, never reconnects.

use std::io::ErrorKind;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use tungstenite::handshake::HandshakeError;
use tungstenite::{Error, Message, WebSocket};

use super::{Failure, ServerAddress};

/// How long the server may take to answer the upgrade, and to answer a close.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(30);

/// What came from the server.
#[derive(Debug)]
pub(crate) enum Received {
    /// One JSON object, as text.
    Text(String),
    /// The connection is over; 1006 stands for an end without a close frame.
    Closed { code: u16, reason: String },
}

/// An open connection to `/ws`.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: WebSocket<TcpStream>,
}

impl Connection {
    /// Connects and upgrades. `read_deadline` bounds every later [`Connection::receive`].
    pub(crate) fn open(
        server: &ServerAddress,
        read_deadline: Option<Duration>,
    ) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(server.authority())
            .map_err(|error| format!("cannot connect to {server}: {error}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(HANDSHAKE_DEADLINE))?;
        let (socket, _response) = tungstenite::client(server.websocket_url(), stream)
            .map_err(|error| refused(server, error))?;
        socket.get_ref().set_read_timeout(read_deadline)?;
        Ok(Connection { socket })
    }

    /// Sends one JSON object.
    pub(crate) fn send(&mut self, json: &str) -> Result<(), Failure> {
        self.socket.send(Message::text(json))?;
        Ok(())
    }

    /// Waits for the next JSON object, or for the end of the connection.
    pub(crate) fn receive(&mut self) -> Result<Received, Failure> {
        let mut closed = (1006, "the connection was cut".to_owned());
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Ok(Received::Text(text.to_string())),
                Ok(Message::Close(Some(frame))) => {
                    closed = (frame.code.into(), frame.reason.to_string());
                }
                Ok(Message::Close(None)) => closed = (1005, String::new()),
                Ok(_) => {}
                Err(Error::Io(error)) if is_timeout(error.kind()) => {
                    return Err("the server sent nothing in time".into());
                }
                Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_)) => break,
                Err(Error::Protocol(_)) if !self.socket.can_read() => break,
                Err(error) => return Err(error.into()),
            }
        }
        let (code, reason) = closed;
        Ok(Received::Closed { code, reason })
    }

    /// Says goodbye and waits until the server has answered.
    pub(crate) fn close(mut self) -> Result<(), Failure> {
        self.socket
            .get_ref()
            .set_read_timeout(Some(HANDSHAKE_DEADLINE))?;
        self.socket.close(None)?;
        while let Received::Text(_) = self.receive()? {}
        Ok(())
    }

    /// Ends the connection as a broken network would: without a close frame.
    pub(crate) fn cut(self) -> Result<(), Failure> {
        self.socket.get_ref().shutdown(Shutdown::Both)?;
        Ok(())
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The handshake failed; a refusal of the server comes with its own words in the body.
fn refused<Role: tungstenite::handshake::HandshakeRole>(
    server: &ServerAddress,
    error: HandshakeError<Role>,
) -> Failure {
    match error {
        HandshakeError::Interrupted(_) => format!("{server} did not answer in time").into(),
        HandshakeError::Failure(Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            let text = String::from_utf8_lossy(body);
            format!(
                "{server} refused the WebSocket: {} {text}",
                response.status()
            )
            .into()
        }
        HandshakeError::Failure(error) => format!("{server}: {error}").into(),
    }
}
