//! Opening a connection: name, address, handshake, on a thread of its own, so that a caller can wait for it piece by
//! piece and give up when it likes. The thread ends with the attempt, at the latest when the connect timeout is over
//! and the system has given up on the name.

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
/// The longest body of a refusal that is read.
const REFUSAL_BYTES: usize = 16 << 10;

/// An attempt that is under way. Dropped, it is given up.
#[derive(Debug)]
pub(super) struct Dialing {
    pub(super) result: Receiver<Result<Ws, Error>>,
    attempt: Arc<Mutex<Attempt>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Attempt {
    is_given_up: bool,
    /// While the handshake is under way.
    stream: Option<Arc<TcpStream>>,
}

impl Dialing {
    pub(super) fn start(settings: &Arc<Settings>) -> Result<Dialing, Error> {
        let (tell, result) = bounded(1);
        let attempt = Arc::new(Mutex::new(Attempt::default()));
        let (settings, its) = (Arc::clone(settings), Arc::clone(&attempt));
        let dial = move || {
            // Nobody waits any more: the connection goes with the result.
            let _ = tell.send(open(&settings, &its));
        };
        let thread = thread::Builder::new()
            .name("client-dial".to_owned())
            .spawn(dial)
            .map_err(Error::System)?;
        Ok(Dialing {
            result,
            attempt,
            thread: Some(thread),
        })
    }
}

impl Drop for Dialing {
    fn drop(&mut self) {
        let mut attempt = self.attempt.lock();
        attempt.is_given_up = true;
        if let Some(stream) = attempt.stream.take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(attempt);
        if let Some(thread) = self.thread.take()
            && thread.is_finished()
        {
            let _ = thread.join();
        }
    }
}

fn open(settings: &Settings, attempt: &Mutex<Attempt>) -> Result<Ws, Error> {
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
            Ok(stream) => return upgrade(settings, Arc::new(stream), attempt, deadline),
            Err(error) => last = error,
        }
        if attempt.lock().is_given_up {
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
    attempt: &Mutex<Attempt>,
    deadline: Instant,
) -> Result<Ws, Error> {
    {
        let mut attempt = attempt.lock();
        if attempt.is_given_up {
            return Err(Error::Closed);
        }
        attempt.stream = Some(Arc::clone(&stream));
    }
    let mut socket = Socket::new(Arc::clone(&stream));
    (socket.read_until, socket.write_until) = (Some(deadline), Some(deadline));
    let shaken = client_with_config(request(settings)?, socket, Some(config(settings)));
    attempt.lock().stream = None;
    match shaken {
        Ok((websocket, _response)) => Ok(websocket),
        Err(HandshakeError::Interrupted(_)) => Err(Error::Timeout {
            what: "answer to the handshake",
            after: settings.connect_timeout,
        }),
        Err(HandshakeError::Failure(error)) => Err(failed(settings, error, stream, deadline)),
    }
}

/// Limits for what the server may send, and no more buffer than is used.
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

/// What a failed handshake means. A connection that breaks in the middle of it may be there the next time.
fn failed(settings: &Settings, error: WsError, stream: Arc<TcpStream>, deadline: Instant) -> Error {
    match error {
        WsError::Http(response) => refusal(*response, stream, deadline),
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

/// The server's own words, of which a part may still be on its way.
fn refusal(response: Response, stream: Arc<TcpStream>, deadline: Instant) -> Error {
    let status = response.status().as_u16();
    let length = response.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut body = response.into_body().unwrap_or_default();
    let missing = length
        .unwrap_or(0)
        .min(REFUSAL_BYTES)
        .saturating_sub(body.len());
    let mut socket = Socket::new(stream);
    socket.read_until = Some(deadline);
    // A body that breaks off is told as far as it came.
    let _ = socket.take(missing as u64).read_to_end(&mut body);
    problem(status, &body)
}
