//! Opens a connection: name lookup, connect, handshake. Runs on a thread of its own, so that the caller can wait with any
//! timeout and cancel the attempt. The thread ends with the attempt, at the latest after the connect timeout and the
//! timeout of the name lookup.

use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, bounded};
use parking_lot::Mutex;
use socket2::{Domain, Socket as RawSocket, Type};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::HandshakeError;
use tungstenite::handshake::client::{Request, Response};
use tungstenite::http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error as WsError, WebSocket, client::client_with_config, error::ProtocolError};

use super::Error;
use super::rest::problem;
use super::settings::Settings;
use super::socket::Socket;

/// A WebSocket over a socket with deadlines.
pub(super) type Ws = WebSocket<Socket>;

const READ_BUFFER_BYTES: usize = 32 << 10;
/// The longest body of an error response that is read.
const MAX_ERROR_BODY_BYTES: usize = 16 << 10;

/// A running attempt to connect. Dropping it cancels the attempt.
#[derive(Debug)]
pub(super) struct ConnectAttempt {
    pub(super) result: Receiver<Result<Ws, Error>>,
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_cancelled: bool,
    /// The stream during the handshake.
    stream: Option<Arc<TcpStream>>,
}

impl ConnectAttempt {
    pub(super) fn start(settings: &Arc<Settings>) -> Result<ConnectAttempt, Error> {
        let (sender, result) = bounded(1);
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (settings, thread_shared) = (Arc::clone(settings), Arc::clone(&shared));
        let dial = move || {
            // Fails if the attempt was dropped, which drops the connection too.
            let _ = sender.send(open(&settings, &thread_shared));
        };
        let thread = thread::Builder::new()
            .name("client-dial".to_owned())
            .spawn(dial)
            .map_err(Error::System)?;
        Ok(ConnectAttempt {
            result,
            shared,
            thread: Some(thread),
        })
    }
}

impl Drop for ConnectAttempt {
    fn drop(&mut self) {
        let mut shared = self.shared.lock();
        shared.is_cancelled = true;
        if let Some(stream) = shared.stream.take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(shared);
        if let Some(thread) = self.thread.take()
            && thread.is_finished()
        {
            let _ = thread.join();
        }
    }
}

fn open(settings: &Settings, shared: &Mutex<Shared>) -> Result<Ws, Error> {
    let deadline = Instant::now() + settings.connect_timeout;
    let unreachable = |source| Error::Connect {
        address: settings.address.to_string(),
        source,
    };
    let addresses = settings
        .address
        .host_and_port()
        .to_socket_addrs()
        .map_err(unreachable)?;
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match connect(settings, address, deadline) {
            Ok(stream) => return upgrade(settings, Arc::new(stream), shared, deadline),
            Err(error) => last = error,
        }
        if shared.lock().is_cancelled {
            break;
        }
    }
    Err(unreachable(last))
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

fn upgrade(
    settings: &Settings,
    stream: Arc<TcpStream>,
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
    let mut socket = Socket::new(Arc::clone(&stream));
    (socket.read_until, socket.write_until) = (Some(deadline), Some(deadline));
    let handshake = client_with_config(request(settings)?, socket, Some(config(settings)));
    shared.lock().stream = None;
    match handshake {
        Ok((websocket, _response)) => Ok(websocket),
        Err(HandshakeError::Interrupted(_)) => Err(Error::Timeout {
            what: "answer to the handshake",
            after: settings.connect_timeout,
        }),
        Err(HandshakeError::Failure(error)) => {
            Err(handshake_error(settings, error, stream, deadline))
        }
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

fn request(settings: &Settings) -> Result<Request, Error> {
    let invalid = |_| Error::invalid("url: not a host name");
    let mut request = settings
        .address
        .websocket_url()
        .into_client_request()
        .map_err(invalid)?;
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
    settings: &Settings,
    error: WsError,
    stream: Arc<TcpStream>,
    deadline: Instant,
) -> Error {
    match error {
        WsError::Http(response) => refused(*response, stream, deadline),
        WsError::Io(source) => Error::Connect {
            address: settings.address.to_string(),
            source,
        },
        WsError::Protocol(ProtocolError::HandshakeIncomplete) => Error::Connect {
            address: settings.address.to_string(),
            source: ErrorKind::UnexpectedEof.into(),
        },
        other => Error::protocol(format!("the handshake failed: {other}")),
    }
}

/// The error response of the server. Reads the rest of its body.
fn refused(response: Response, stream: Arc<TcpStream>, deadline: Instant) -> Error {
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
