//! Where a subscription stands in its topic, and what may come next: every event once, in order, no hole untold.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Error, Gap, GapReason};

/// A place in a topic: behind the event `seq` of the life `epoch` of the topic. Worth keeping: a later
/// subscription can start there ([`Start::from`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The number of the last event that was handed out or told as missing; 0 before the first.
    pub seq: u64,
    /// Which life of the topic the number belongs to. Opaque.
    #[serde(with = "text")]
    pub epoch: Arc<str>,
}

/// A shared text as JSON has it.
mod text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
        text.as_ref().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(from).map(Arc::from)
    }
}

/// Where a subscription starts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// With the next event.
    Now,
    /// With the newest so many events that the history still has; then live.
    Last(u64),
    /// Behind a position. What has left the history since then comes as a gap.
    After {
        /// The last event that is not wanted again; 0 is the beginning.
        seq: u64,
        /// The life of the topic that `seq` belongs to; `None` is the current one.
        epoch: Option<Arc<str>>,
    },
}

impl From<Position> for Start {
    fn from(position: Position) -> Start {
        Start::After {
            seq: position.seq,
            epoch: Some(position.epoch),
        }
    }
}

/// What an ack of a subscribe says about the place.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    pub(super) seq: u64,
    pub(super) epoch: &'a str,
    pub(super) recovered: Option<bool>,
}

/// The reading end of one subscription.
#[derive(Debug, Clone)]
pub(super) enum Cursor {
    /// Nothing was acknowledged yet.
    Fresh(Start),
    /// The next event is `last + 1`; right after the ack of a replay whose beginning only the server knows, it is any
    /// up to `ceiling + 1`.
    At {
        last: u64,
        epoch: Arc<str>,
        ceiling: Option<u64>,
    },
    /// The topic turned out to be another one. The gap that tells so comes next; until it does, the old place counts.
    Moved {
        from: Position,
        to: Arc<str>,
        newest: u64,
    },
}

impl Cursor {
    /// Where to subscribe again.
    pub(super) fn start(&self) -> Start {
        match (self, self.position()) {
            (Cursor::Fresh(start), _) => start.clone(),
            (_, Some(position)) => position.into(),
            (_, None) => Start::Now,
        }
    }

    /// The place, once there is one.
    pub(super) fn position(&self) -> Option<Position> {
        match self {
            Cursor::Fresh(_) => None,
            Cursor::At { last, epoch, .. } => Some(Position {
                seq: *last,
                epoch: Arc::clone(epoch),
            }),
            Cursor::Moved { from, .. } => Some(from.clone()),
        }
    }

    /// The subscribe that asked for [`start`](Cursor::start) was acknowledged.
    pub(super) fn on_ack(&mut self, ack: &Placed<'_>) -> Result<(), Error> {
        let at = |last, ceiling| Cursor::At {
            last,
            epoch: ack.epoch.into(),
            ceiling,
        };
        *self = match self.start() {
            Start::Now | Start::Last(0) => at(ack.seq, None),
            Start::Last(n) => at(ack.seq.saturating_sub(n), Some(ack.seq)),
            Start::After { seq, epoch: None } => at(seq, None),
            Start::After {
                seq,
                epoch: Some(epoch),
            } if *epoch == *ack.epoch => at(seq, None),
            Start::After { .. } if ack.recovered == Some(true) => {
                return Err(Error::protocol("a position of another epoch was recovered"));
            }
            Start::After {
                seq,
                epoch: Some(epoch),
            } => Cursor::Moved {
                from: Position { seq, epoch },
                to: ack.epoch.into(),
                newest: ack.seq,
            },
        };
        Ok(())
    }

    /// An event came.
    pub(super) fn on_event(&mut self, seq: u64) -> Result<(), Error> {
        self.advance(seq, seq, "event")
    }

    /// A gap came.
    pub(super) fn on_gap(&mut self, gap: &Gap) -> Result<(), Error> {
        match (&*self, gap.range()) {
            (_, Some((from, to))) => self.advance(from, to, "gap"),
            (Cursor::Moved { to, newest, .. }, None) if gap.reason() == GapReason::EpochChanged => {
                *self = Cursor::At {
                    last: 0,
                    epoch: Arc::clone(to),
                    ceiling: Some(*newest),
                };
                Ok(())
            }
            _ => Err(Error::protocol(format!(
                "a gap without numbers ({})",
                gap.reason()
            ))),
        }
    }

    /// Goes on to `to` if what begins at `from` is what must come next.
    fn advance(&mut self, from: u64, to: u64, what: &str) -> Result<(), Error> {
        let Cursor::At { last, ceiling, .. } = self else {
            return Err(Error::protocol(format!("an {what} before its ack or gap")));
        };
        let latest = ceiling.unwrap_or(*last).max(*last).saturating_add(1);
        if from <= *last || from > latest {
            return Err(Error::protocol(format!(
                "{what} {from} came where {} was next",
                last.saturating_add(1)
            )));
        }
        (*last, *ceiling) = (to, None);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(seq: u64, epoch: &str, recovered: Option<bool>) -> Placed<'_> {
        Placed {
            seq,
            epoch,
            recovered,
        }
    }

    fn after(start: Start, ack: &Placed<'_>) -> Cursor {
        let mut cursor = Cursor::Fresh(start);
        cursor.on_ack(ack).unwrap();
        cursor
    }

    fn gap(range: Option<(u64, u64)>, reason: GapReason) -> Gap {
        Gap::new("t", range, reason)
    }

    fn place(cursor: &Cursor) -> (u64, String) {
        let position = cursor.position().unwrap();
        (position.seq, position.epoch.to_string())
    }

    #[test]
    fn live_events_are_without_holes() {
        let mut cursor = after(Start::Now, &placed(7, "e", None));
        assert!(cursor.on_event(9).is_err());
        assert!(cursor.on_event(7).is_err());
        cursor.on_event(8).unwrap();
        cursor
            .on_gap(&gap(Some((9, 20)), GapReason::SlowConsumer))
            .unwrap();
        assert!(cursor.on_event(20).is_err());
        cursor.on_event(21).unwrap();
        assert_eq!(place(&cursor), (21, "e".to_owned()));
    }

    #[test]
    fn a_replay_begins_where_the_server_says_but_not_outside_of_what_was_asked() {
        let cursor = after(Start::Last(5), &placed(20, "e", None));
        for (seq, fits) in [(15, false), (16, true), (20, true), (21, true), (22, false)] {
            assert_eq!(cursor.clone().on_event(seq).is_ok(), fits, "{seq}");
        }
        assert_eq!(
            place(&cursor),
            (15, "e".to_owned()),
            "nothing is lost by a cut here"
        );
    }

    #[test]
    fn the_old_place_counts_until_the_change_of_epoch_is_told() {
        let mut cursor = after(Start::Now, &placed(7, "old", None));
        cursor.on_ack(&placed(3, "new", Some(false))).unwrap();
        assert_eq!(place(&cursor), (7, "old".to_owned()));
        assert!(cursor.clone().on_event(1).is_err());
        let changed = gap(None, GapReason::EpochChanged);
        cursor.on_gap(&changed).unwrap();
        assert_eq!(place(&cursor), (0, "new".to_owned()));
        assert!(cursor.clone().on_gap(&changed).is_err());
        cursor.on_event(2).unwrap();
        assert!(cursor.on_event(4).is_err());
    }

    #[test]
    fn a_resume_asks_for_the_place_and_expects_the_next() {
        let mut cursor = after(Start::Last(5), &placed(20, "e", None));
        cursor.on_event(18).unwrap();
        let position = cursor.position().unwrap();
        assert_eq!(cursor.start(), Start::from(position));
        cursor.on_ack(&placed(30, "e", Some(true))).unwrap();
        assert!(cursor.clone().on_event(20).is_err());
        cursor.on_event(19).unwrap();
    }

    #[test]
    fn a_position_can_be_kept_as_json() {
        let position = Position {
            seq: 41,
            epoch: "9f2c61d0a7b34e18".into(),
        };
        let kept = serde_json::to_string(&position).unwrap();
        assert_eq!(kept, r#"{"seq":41,"epoch":"9f2c61d0a7b34e18"}"#);
        assert_eq!(serde_json::from_str::<Position>(&kept).unwrap(), position);
    }

    #[test]
    fn a_foreign_position_cannot_be_recovered() {
        let mut cursor = after(Start::Now, &placed(7, "old", None));
        assert!(cursor.on_ack(&placed(7, "new", Some(true))).is_err());
    }
}
