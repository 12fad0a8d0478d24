//! What a run is to do.

use std::fmt;

/// How the publishers send.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// So many messages may be on their way to the slowest subscriber.
    Window(u64),
    /// So many messages a second, whatever has arrived.
    PerSecond(u32),
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pace::Window(window) => write!(f, "window {window}"),
            Pace::PerSecond(rate) => write!(f, "{rate}/s"),
        }
    }
}

/// One run of the load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) messages: u64,
    pub(crate) payload_bytes: usize,
    pub(crate) pace: Pace,
}
