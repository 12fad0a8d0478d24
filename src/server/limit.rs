//! One limit of the machine, and what a connection takes of it. Pure.

/// What a connection costs, and what the rest of the process must keep.
pub(super) mod cost {
    /// Each of a connection's two threads maps its stack, its signal stack, and a guard for each.
    pub(in crate::server) const MAPS_PER_CONNECTION: u64 = 8;
    /// A reader and a writer.
    pub(in crate::server) const THREADS_PER_CONNECTION: u64 = 2;
    /// Reader and writer share one socket.
    pub(in crate::server) const DESCRIPTORS_PER_CONNECTION: u64 = 1;
    /// What its threads map: stacks of 256 and 64 KiB, signal stacks, guards; and what the heap grows by. Measured: 363 KiB
    /// at rest.
    pub(in crate::server) const MAPPED_BYTES_PER_CONNECTION: u64 = 416 << 10;
    /// Mapped bytes left to the threads that are not there yet when the cap is computed, and to the heap.
    pub(in crate::server) const MAPPED_BYTES_RESERVE: u64 = 192 << 20;
    /// Mapped bytes that must be free before a thread is started: in a new thread, and in the heap, a refused map ends the
    /// process.
    pub(in crate::server) const MAPPED_BYTES_MARGIN: u64 = 16 << 20;
    /// Of the memory maps, the share (one in so many) left to the heap: a large buffer takes a map each.
    pub(in crate::server) const MAPS_RESERVE_SHARE: u64 = 8;
    /// Threads left to the acceptor, the REST workers and everything else in the process.
    pub(in crate::server) const THREADS_RESERVE: u64 = 300;
    /// Descriptors left to the listener, the REST workers' sockets and the files of others.
    pub(in crate::server) const DESCRIPTORS_RESERVE: u64 = 600;
}

/// One limit of the machine, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit {
    /// The name under which an administrator finds it.
    pub(super) name: &'static str,
    pub(super) max: u64,
    /// Taken already.
    pub(super) used: u64,
    /// Kept back for everything that is no connection.
    pub(super) reserve: u64,
    pub(super) per_connection: u64,
}

impl Limit {
    /// A reserve never takes more than half of what is free, so that a tight limit still serves some.
    pub(super) fn connections(&self) -> u64 {
        let free = self.max.saturating_sub(self.used);
        (free - self.reserve.min(free / 2)) / self.per_connection
    }
}
