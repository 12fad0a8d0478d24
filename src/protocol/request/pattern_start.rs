//! Where the subscriptions of a pattern start.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use super::{StartAt, invalid};
use crate::protocol::json::{self, StrictObject};
use crate::protocol::{ErrorReply, TopicName, TopicPattern};

const POSITION_FIELDS: [&str; 2] = ["seq", "epoch"];

/// Where the subscription of each topic that matches starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PatternStart {
    /// At the newest n events of its history.
    Last(u64),
    /// After its position. A topic without a position is new to the client: at the beginning of its history.
    After(HashMap<TopicName, Position>),
}

/// The last event of a topic that a client has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) seq: u64,
    pub(crate) epoch: String,
}

impl PatternStart {
    pub(crate) fn of(&self, topic: &TopicName) -> StartAt {
        match self {
            PatternStart::Last(n) => StartAt::Last(*n),
            PatternStart::After(positions) => match positions.get(topic) {
                Some(Position { seq, epoch }) => StartAt::After {
                    seq: *seq,
                    epoch: Some(epoch.clone()),
                },
                None => StartAt::After {
                    seq: 0,
                    epoch: None,
                },
            },
        }
    }

    /// The positions that the client has.
    pub(crate) fn positions(&self) -> impl Iterator<Item = (&TopicName, &Position)> {
        let positions = match self {
            PatternStart::Last(_) => None,
            PatternStart::After(positions) => Some(positions),
        };
        positions.into_iter().flatten()
    }
}

/// Reads `{"shop.eu":{"seq":41,"epoch":"…"}}`. Each name must match the pattern.
pub(super) fn read_positions(
    positions: &RawValue,
    pattern: &TopicPattern,
) -> Result<HashMap<TopicName, Position>, ErrorReply> {
    let refused = |why: String| ErrorReply::bad_request(format!("positions: {why}"));
    let mut read = HashMap::default();
    let fields = json::all_fields(positions.get()).map_err(|error| refused(error.to_string()))?;
    for (name, position) in fields {
        let topic = TopicName::new(&name).map_err(invalid)?;
        if !pattern.matches(topic.as_str()) {
            return Err(refused(format!("'{topic}' does not match '{pattern}'")));
        }
        let position = read_position(position)
            .ok_or_else(|| refused(format!("'{topic}' needs seq and epoch")))?;
        read.insert(topic, position);
    }
    Ok(read)
}

fn read_position(position: &RawValue) -> Option<Position> {
    let StrictObject { fields, error } = StrictObject::parse(position.get(), &POSITION_FIELDS);
    let ([Some(seq), Some(epoch)], None) = (fields, error) else {
        return None;
    };
    Some(Position {
        seq: json::as_whole_number(seq)?,
        epoch: json::as_string(epoch).map(Cow::into_owned)?,
    })
}
