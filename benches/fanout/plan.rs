//! What a run is to do.

/// How the publisher sends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// So many messages may be on their way to the slowest subscriber.
    Window(u64),
    /// So many messages a second, whatever has arrived.
    PerSecond(u32),
}

/// One run of the load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) messages: u64,
    pub(crate) payload_bytes: usize,
    pub(crate) pace: Pace,
}
