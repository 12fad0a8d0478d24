//! The end of all connections, in order.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::connections::Connections;
use super::websocket::Connection;
use crate::sync::{Arc, Ordering};

/// How long an idle HTTP connection stays open after a shutdown began.
const ASK_GRACE: Duration = Duration::from_millis(300);
/// How long a connection may take to end after its socket was shut down.
const CUT_GRACE: Duration = Duration::from_millis(250);
const END_GRACE: Duration = Duration::from_secs(30);

/// The figures of a shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShutdownReport {
    /// Connections that were open when it began.
    pub connections_closed: usize,
    /// Events sent to subscribers while it drained.
    pub events_flushed: u64,
    /// Events that were queued for subscribers and could not be sent in time.
    pub events_undelivered: u64,
}

/// Tells every WebSocket, waits until what is queued is sent, at most the drain timeout, and ends every connection.
/// Requests that still wait for a worker then are cancelled by `cancel_requests`.
pub(super) fn end_connections(
    connections: &Connections,
    drain_timeout: Duration,
    cancel_requests: impl FnOnce(),
) -> ShutdownReport {
    let open = connections.open_count().load(Ordering::Relaxed);
    let websockets = connections.last_websockets();
    let before = tally(&websockets);
    websockets.iter().for_each(|websocket| websocket.drain());
    let began = Instant::now();
    connections.wait_for_websockets(began + drain_timeout);
    // A client that asks over an open connection still learns that the server is not ready any more.
    connections.wait_for_all(began + ASK_GRACE.min(drain_timeout));
    end_all(connections, cancel_requests);
    let after = tally(&websockets);
    ShutdownReport {
        connections_closed: open,
        events_flushed: after.0 - before.0,
        events_undelivered: after.1.saturating_sub(before.1),
    }
}

/// Answers under way are still sent, if their clients take them; then everything is cut.
fn end_all(connections: &Connections, cancel_requests: impl FnOnce()) {
    connections.abort_websockets();
    connections.shut_down(Shutdown::Read);
    if connections.wait_for_all(Instant::now() + CUT_GRACE) {
        return;
    }
    connections.shut_down(Shutdown::Both);
    cancel_requests();
    if !connections.wait_for_all(Instant::now() + END_GRACE) {
        tracing::error!("a connection did not end");
    }
}

/// Events delivered and not delivered by all of these.
fn tally(websockets: &[Arc<Connection>]) -> (u64, u64) {
    websockets
        .iter()
        .map(|websocket| websocket.tally())
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}
