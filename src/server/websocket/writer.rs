//! The writer thread of a WebSocket: does all work of a connection that may wait for the peer.

use std::time::Duration;

use super::connection::Connection;
use super::end::EndReason;
use super::outbox::{Phase, Work};
use crate::sync::channel::Receiver;

/// How long the writer waits after the close frame for the peer to answer it.
const LINGER: Duration = Duration::from_secs(2);

/// Runs until the connection is over. After a panic it starts again, once, to send the close frame.
pub(super) fn run(connection: &Connection, work: &Receiver<Work>) {
    let ran = connection.panics.catch(|| write(connection, work));
    if ran.is_none() {
        connection.panics.catch(|| {
            connection.end(EndReason::Internal);
            write(connection, work);
        });
    }
    connection.abort(EndReason::PeerGone);
}

/// Works until the connection is over.
pub(super) fn write(connection: &Connection, work: &Receiver<Work>) {
    let outbox = &connection.outbox;
    for item in work {
        if let Work::Deliver(subscription) = item {
            connection.write_events(&subscription);
        }
        // Each of them once: the next item in the channel has waited as long.
        for subscription in outbox.take_overflow() {
            connection.write_events(&subscription);
        }
        outbox.write_unsent();
        if outbox.take_drain_request() {
            connection.finish_drain();
        }
        if outbox.phase() == Phase::Closing && outbox.write_unsent() {
            outbox.linger(LINGER);
        }
        if outbox.is_over() {
            break;
        }
    }
    if outbox.timed_out() {
        connection.abort(EndReason::WriteTimeout);
    }
}
