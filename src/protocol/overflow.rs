//! Overflow policies: how a topic treats a subscriber that reads too slowly.

use std::fmt;
use std::str::FromStr;

/// What happens when more events wait for a subscription than its queue allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverflowPolicy {
    /// The oldest undelivered events are skipped and reported as a gap; the connection stays open.
    #[default]
    DropOldest,
    /// The subscriber gets `SLOW_CONSUMER` and close code 4100.
    Disconnect,
    /// Publishers wait, at most for the server's `block_timeout`; then the slowest subscriber is disconnected.
    Block,
}

impl OverflowPolicy {
    /// Every policy, in the order of the documentation.
    pub const ALL: [OverflowPolicy; 3] = [
        OverflowPolicy::DropOldest,
        OverflowPolicy::Disconnect,
        OverflowPolicy::Block,
    ];

    /// The name used in requests, replies and settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            OverflowPolicy::DropOldest => "drop_oldest",
            OverflowPolicy::Disconnect => "disconnect",
            OverflowPolicy::Block => "block",
        }
    }
}

impl fmt::Display for OverflowPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not the name of an overflow policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownOverflowPolicy;

impl fmt::Display for UnknownOverflowPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("overflow must be drop_oldest, disconnect or block")
    }
}

impl std::error::Error for UnknownOverflowPolicy {}

impl FromStr for OverflowPolicy {
    type Err = UnknownOverflowPolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let has_name = |policy: &OverflowPolicy| policy.as_str() == text;
        OverflowPolicy::ALL
            .into_iter()
            .find(has_name)
            .ok_or(UnknownOverflowPolicy)
    }
}
