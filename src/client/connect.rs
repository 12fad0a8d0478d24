//! Opens a connection to one address: name lookup, connect, handshake. Runs on a thread of its own, so that the caller can wait with any
//! timeout and cancel the attempt. The thread ends with the attempt, at the latest after the connect timeout and the
//! timeout of the name lookup.

use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use parking_lot::Mutex;
use socket2::{Domain, Socket as RawSocket, Type};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::HandshakeError;
use tungstenite::handshake::client::{Request, Response};
use tungstenite::http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error as WsError, WebSocket, client::client_with_config, error::ProtocolError};

use super::Error;
use super::address::Address;
use super::addresses::Place;
use super::rest::problem;
use super::settings::Settings;
use super::socket::Socket;
use super::stream::Stream;

/// A WebSocket over a socket with deadlines.
pub(super) type Ws = WebSocket<Socket>;

const READ_BUFFER_BYTES: usize = 32 << 10;
/// The longest body of an error response that is read.
const MAX_ERROR_BODY_BYTES: usize = 16 << 10;

/// A running attempt to connect. Dropping it cancels the attempt.
#[derive(Debug)]
pub(super) struct ConnectAttempt {
    pub(super) result: Receiver<Result<Ws, Error>>,
    /// Nobody waits longer, even if the name lookup takes longer.
    pub(super) deadline: Instant,
    started: Instant,
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_cancelled: bool,
    /// The stream during the handshake.
    stream: Option<Arc<Stream>>,
}

impl ConnectAttempt {
    pub(super) fn start(settings: &Arc<Settings>, to: Place) -> Result<ConnectAttempt, Error> {
        let (sender, result) = bounded(1);
        let started = Instant::now();
        let deadline = started + settings.attempt_timeout();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (settings, thread_shared) = (Arc::clone(settings), Arc::clone(&shared));
        let dial = move || {
            // Fails if the attempt was dropped, which drops the connection too.
            let _ = sender.send(open(&settings, to, &thread_shared, deadline));
        };
        let thread = thread::Builder::new()
            .name("client-dial".to_owned())
            .spawn(dial)
            .map_err(Error::System)?;
        Ok(ConnectAttempt {
            result,
            deadline,
            started,
            shared,
            thread: Some(thread),
        })
    }

    /// Waits for the result, at most until `limit`.
    pub(super) fn wait(&self, limit: Instant) -> Result<Ws, Error> {
        let until = self.deadline.min(limit);
        match self.result.recv_deadline(until) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(self.timed_out(until)),
            Err(RecvTimeoutError::Disconnected) => Err(panicked()),
        }
    }

    /// The error when there is no result until `until`.
    pub(super) fn timed_out(&self, until: Instant) -> Error {
        Error::Timeout {
            what: "connection",
            after: until.saturating_duration_since(self.started),
        }
    }
}

impl Drop for ConnectAttempt {
    fn drop(&mut self) {
        let mut shared = self.shared.lock();
        shared.is_cancelled = true;
        if let Some(stream) = shared.stream.take() {
            stream.shutdown(Shutdown::Both);
        }
        drop(shared);
        if let Some(thread) = self.thread.take()
            && thread.is_finished()
        {
            let _ = thread.join();
        }
    }
}

/// The error of an attempt whose thread has ended without a result.
pub(super) fn panicked() -> Error {
    Error::lost(None, "the connect thread panicked")
}

fn open(
    settings: &Settings,
    to: Place,
    shared: &Mutex<Shared>,
    deadline: Instant,
) -> Result<Ws, Error> {
    let address = settings.addresses.at(to);
    let resolved = address.host_and_port().to_socket_addrs();
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for resolved in resolved.map_err(|source| unreachable(address, source))? {
        match connect(settings, resolved, deadline) {
            Ok(tcp) => {
                let stream = Arc::new(stream_to(settings, address, tcp)?);
                let ws = upgrade(settings, address, stream, shared, deadline)?;
                settings.addresses.note_working(to);
                return Ok(ws);
            }
            Err(error) => last = error,
        }
        if shared.lock().is_cancelled {
            break;
        }
    }
    Err(unreachable(address, last))
}

fn unreachable(address: &Address, source: io::Error) -> Error {
    Error::Connect {
        address: address.to_string(),
        source,
    }
}

fn connect(settings: &Settings, address: SocketAddr, deadline: Instant) -> io::Result<TcpStream> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, None)?;
    if let Some(bytes) = settings.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.connect_timeout(&address.into(), left)?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

/// The stream over a connection, encrypted if the URL says so.
fn stream_to(settings: &Settings, address: &Address, tcp: TcpStream) -> Result<Stream, Error> {
    if !address.is_tls() {
        return Ok(Stream::plain(tcp));
    }
    #[cfg(feature = "tls")]
    {
        let (host, _) = address.host_and_port();
        Ok(Stream::encrypted(tcp, settings.trust.session(host)?))
    }
    #[cfg(not(feature = "tls"))]
    {
        let _ = settings;
        Err(Error::invalid(super::address::NO_TLS))
    }
}

fn upgrade(
    settings: &Settings,
    address: &Address,
    stream: Arc<Stream>,
    shared: &Mutex<Shared>,
    deadline: Instant,
) -> Result<Ws, Error> {
    {
        let mut shared = shared.lock();
        if shared.is_cancelled {
            return Err(Error::Closed);
        }
        shared.stream = Some(Arc::clone(&stream));
    }
    #[cfg(feature = "tls")]
    stream
        .handshake(deadline)
        .map_err(|error| failed_tls(settings, address, error))?;
    let mut socket = Socket::new(Arc::clone(&stream));
    (socket.read_until, socket.write_until) = (Some(deadline), Some(deadline));
    let request = request(settings, address)?;
    let handshake = client_with_config(request, socket, Some(config(settings)));
    shared.lock().stream = None;
    match handshake {
        Ok((websocket, _response)) => Ok(websocket),
        Err(HandshakeError::Interrupted(_)) => Err(Error::Timeout {
            what: "answer to the handshake",
            after: settings.attempt_timeout(),
        }),
        Err(HandshakeError::Failure(error)) => {
            Err(handshake_error(address, error, stream, deadline))
        }
    }
}

#[cfg(feature = "tls")]
fn failed_tls(settings: &Settings, address: &Address, error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::Timeout {
            what: "TLS handshake",
            after: settings.attempt_timeout(),
        },
        _ => match super::tls::reason(&error) {
            Some(reason) => Error::Tls {
                address: address.to_string(),
                reason,
            },
            None => unreachable(address, error),
        },
    }
}

/// Limits what the server may send, and avoids unused buffers.
pub(super) fn config(settings: &Settings) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(settings.max_message_bytes))
        .max_frame_size(Some(settings.max_message_bytes))
}

fn request(settings: &Settings, address: &Address) -> Result<Request, Error> {
    let invalid = |_| Error::invalid("url: not a host name");
    let request = address.websocket_url().into_client_request();
    let mut request = request.map_err(invalid)?;
    if let Some(key) = &settings.key {
        let mut value = HeaderValue::from_str(&key.authorization())
            .map_err(|_| Error::invalid("key: visible ASCII characters only"))?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(request)
}

/// Maps an error of the handshake. The loss of the connection is temporary.
fn handshake_error(
    address: &Address,
    error: WsError,
    stream: Arc<Stream>,
    deadline: Instant,
) -> Error {
    match error {
        WsError::Http(response) => refused(*response, stream, deadline),
        WsError::Io(source) => unreachable(address, source),
        WsError::Protocol(ProtocolError::HandshakeIncomplete) => {
            unreachable(address, ErrorKind::UnexpectedEof.into())
        }
        other => Error::protocol(format!("the handshake failed: {other}")),
    }
}

/// The error response of the server. Reads the rest of its body.
fn refused(response: Response, stream: Arc<Stream>, deadline: Instant) -> Error {
    let status = response.status().as_u16();
    let length = response.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut body = response.into_body().unwrap_or_default();
    let missing = length
        .unwrap_or(0)
        .min(MAX_ERROR_BODY_BYTES)
        .saturating_sub(body.len());
    let mut socket = Socket::new(stream);
    socket.read_until = Some(deadline);
    // A truncated body is used as far as it was received.
    let _ = socket.take(missing as u64).read_to_end(&mut body);
    problem(status, &body)
}
