//! Where a subscription to a pattern starts.

use std::collections::BTreeMap;

use super::Position;

/// The position in each topic, by its name. Serializes to the `positions` of the protocol. Store it to start a later
/// subscription there ([`PatternStart::from`]).
pub type Positions = BTreeMap<String, Position>;

/// Where a subscription to a pattern starts. A topic that is created later begins with its first event, whatever the start is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatternStart {
    /// At the next event of each topic.
    Now,
    /// At the newest n events of the history of each topic; then live.
    Last(u64),
    /// After the position of each topic. A topic without a position is new, and starts at the beginning of its history.
    After(Positions),
}

impl From<Positions> for PatternStart {
    fn from(positions: Positions) -> PatternStart {
        PatternStart::After(positions)
    }
}
