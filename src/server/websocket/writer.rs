//! The writer thread: does for one connection whatever would have to wait for the peer.

use std::time::Duration;

use super::connection::Connection;
use super::end::EndReason;
use super::outbox::{Phase, Work};
use crate::sync::channel::Receiver;

/// How long a closed connection is kept for the peer to read the close frame and answer it.
const LINGER: Duration = Duration::from_secs(2);

/// Works until the connection is over.
pub(super) fn run(connection: &Connection, work: &Receiver<Work>) {
    let outbox = &connection.outbox;
    for item in work {
        if let Work::Deliver(subscription) = item {
            connection.write_events(&subscription);
        }
        // One round: the next in the channel has waited as long.
        for subscription in outbox.take_overflow() {
            connection.write_events(&subscription);
        }
        outbox.write_unsent();
        if outbox.take_drain_order() {
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
