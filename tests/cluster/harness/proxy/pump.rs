//! One direction of a connection: a thread that reads, and one that writes when the direction's flow allows it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Flow, Shared, Way};

const READ_BYTES: usize = 16 << 10;
/// Reads that wait to be written; more stay in the sender's socket, as with a real link.
const READS_HELD: usize = 8;
/// Writes a second of a throttled direction.
const WRITES_PER_SEC: usize = 20;

/// A read and when it arrived.
type Piece = (Instant, Vec<u8>);

/// Starts both threads. They end when the connection has ended or was cut.
pub(super) fn pump(
    shared: &Arc<Shared>,
    connection: u64,
    way: Way,
    from: TcpStream,
    to: TcpStream,
) -> [JoinHandle<()>; 2] {
    let (sender, receiver) = sync_channel(READS_HELD);
    let writer = Writer {
        shared: Arc::clone(shared),
        connection,
        way,
        to,
    };
    [
        thread::spawn(move || read_all(from, &sender)),
        thread::spawn(move || writer.write_all(&receiver)),
    ]
}

fn read_all(mut from: TcpStream, sender: &SyncSender<Piece>) {
    let mut piece = [0; READ_BYTES];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        if sender
            .send((Instant::now(), piece[..count].to_vec()))
            .is_err()
        {
            return;
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    connection: u64,
    way: Way,
    to: TcpStream,
}

impl Writer {
    fn write_all(mut self, receiver: &Receiver<Piece>) {
        for (arrived, piece) in receiver {
            if self.write_piece(arrived, &piece).is_none() {
                break;
            }
        }
        if self.await_flow(Instant::now()).is_some() {
            let _already = self.to.shutdown(Shutdown::Write);
        }
        self.forget_ended();
    }

    /// `None` when the connection has ended.
    fn write_piece(&mut self, arrived: Instant, piece: &[u8]) -> Option<()> {
        let mut rest = piece;
        while !rest.is_empty() {
            let flow = self.await_flow(arrived)?;
            let most = flow
                .bytes_per_sec
                .map_or(rest.len(), |rate| (rate / WRITES_PER_SEC).max(1));
            let (now, later) = rest.split_at(most.min(rest.len()));
            self.to.write_all(now).ok()?;
            rest = later;
            if let Some(rate) = flow.bytes_per_sec {
                super::super::let_pass(Duration::from_secs_f64(now.len() as f64 / rate as f64));
            }
        }
        Some(())
    }

    /// Waits until what arrived then may go on; `None` when the connection was cut.
    fn await_flow(&self, arrived: Instant) -> Option<Flow> {
        let mut state = self.shared.lock();
        loop {
            if !state.has(self.connection) {
                return None;
            }
            let flow = state.flows[self.way as usize];
            let left = (arrived + flow.delay).saturating_duration_since(Instant::now());
            let is_held = flow.held || self.connection <= state.frozen;
            if !is_held && left.is_zero() {
                return Some(flow);
            }
            let timeout = if is_held {
                Duration::from_secs(1)
            } else {
                left
            };
            let waited = self.shared.changed.wait_timeout(state, timeout);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    /// Ends the connection in both directions once Redis or the node has closed its side.
    fn forget_ended(&self) {
        let mut state = self.shared.lock();
        let connections = std::mem::take(&mut state.connections);
        let (ended, open) = connections
            .into_iter()
            .partition(|known| known.number == self.connection);
        state.connections = open;
        let ended: Vec<super::Connection> = ended;
        ended.iter().for_each(super::Connection::end);
    }
}
