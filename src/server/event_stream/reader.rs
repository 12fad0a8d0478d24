//! The reader of an event stream: sees the peer close, sends the heartbeat, and ends the stream when its token expires.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use nix::libc::ETIMEDOUT;

use crate::access::Expiry;
use crate::protocol::{Encoding, TransferCoding};
use crate::server::transport::Transport;
use crate::server::websocket::{Connection, EndReason};

/// How much a peer may send behind its request. All of it is discarded, because the stream is the last response.
const MAX_SURPLUS_BYTES: usize = 64 << 10;
const READ_BYTES: usize = 1 << 10;
/// A timeout of zero would be none.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// Reads until the peer has closed its side or the connection is aborted. The peer has sent `surplus` bytes behind its
/// request so far. On the connection's own thread.
pub(in crate::server) fn read(
    connection: &Connection,
    transport: &Transport,
    heartbeat: Duration,
    expiry: Option<Expiry>,
    mut surplus: usize,
) {
    // As long as a WebSocket may leave two pings unanswered, and no shorter than a blocked write may take.
    transport.set_user_timeout((heartbeat * 2).max(connection.write_timeout() * 2));
    let mut next_heartbeat = Instant::now() + heartbeat;
    let mut expiry = expiry.map(Expiry::at);
    let mut buffer = [0; READ_BYTES];
    loop {
        if expiry.take_if(|at| Instant::now() >= *at).is_some() {
            connection.end(EndReason::TokenExpired);
        }
        let next = expiry.map_or(next_heartbeat, |at| at.min(next_heartbeat));
        let wait = next.saturating_duration_since(Instant::now());
        let wait = wait.max(MIN_WAIT);
        let read = transport.set_read_timeout(Some(wait));
        match read.and_then(|()| transport.read(&mut buffer)) {
            Ok(0) => return connection.abort(EndReason::PeerGone),
            Ok(bytes) => {
                connection.received(bytes);
                surplus += bytes;
                if surplus > MAX_SURPLUS_BYTES {
                    connection.end(EndReason::Policy("too many bytes behind the request"));
                }
            }
            // The peer's system has not acknowledged the last heartbeats.
            Err(error) if error.raw_os_error() == Some(ETIMEDOUT) => {
                return connection.abort(EndReason::Heartbeat);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if Instant::now() < next_heartbeat {
                    continue;
                }
                next_heartbeat += heartbeat;
                send_heartbeat(connection);
            }
            Err(_) => return connection.abort(EndReason::PeerGone),
        }
    }
}

/// To a peer that has not taken earlier bytes, another heartbeat would say nothing.
pub(in crate::server) fn send_heartbeat(connection: &Connection) {
    if let Encoding::EventStream(coding) = connection.encoding()
        && connection.pending_bytes() == 0
    {
        connection.queue(&heartbeat_comment(coding));
    }
}

fn heartbeat_comment(coding: TransferCoding) -> Vec<u8> {
    let mut comment = Vec::new();
    coding.push_comment(&mut comment, "heartbeat");
    comment
}
