//! The position of a subscription in its topic. Checks that every event arrives once, in order, and that every missing
//! event is reported as a gap.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Error, Gap, GapReason};

/// A position in a topic: after the event `seq` of the epoch `epoch`. Store it to start a later subscription there
/// ([`Start::from`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The `seq` of the last event that was delivered or reported as missing; 0 before the first.
    pub seq: u64,
    /// The epoch of the topic that `seq` belongs to. Opaque.
    #[serde(with = "text")]
    pub epoch: Arc<str>,
}

/// Serializes an `Arc<str>`.
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
    /// At the next event.
    Now,
    /// At the newest n events of the history; then live.
    Last(u64),
    /// After a position. Events that are no longer in the history are reported as a gap.
    After {
        /// The last event that is not delivered again; 0 is the beginning.
        seq: u64,
        /// The epoch that `seq` belongs to; `None` is the current one.
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

/// The position in the ack of a subscribe.
#[derive(Debug)]
pub(super) struct StartAck<'a> {
    pub(super) seq: u64,
    pub(super) epoch: &'a str,
    pub(super) recovered: Option<bool>,
}

impl StartAck<'_> {
    /// Whether the topic is behind a position that the subscription already had. A server answers like that when it lost
    /// events and has not begun a new epoch yet.
    fn is_behind(&self, seq: u64) -> bool {
        self.recovered == Some(false) && self.seq < seq
    }
}

/// The position of one subscription, and which delivery may be next.
#[derive(Debug, Clone)]
pub(super) enum Cursor {
    /// Not acknowledged yet.
    Fresh(Start),
    /// The next event is `last + 1`. Directly after the ack of a replay, whose first event only the server knows, it is any
    /// up to `max_first + 1`.
    At {
        last: u64,
        epoch: Arc<str>,
        max_first: Option<u64>,
    },
    /// The topic did not continue the position when subscribing again: its epoch is another one, or it has lost events. A gap
    /// must be next; until it arrives, the old position is valid.
    Moved {
        from: Position,
        to: Arc<str>,
        newest: u64,
    },
}

impl Cursor {
    /// The next event is the one after `position`.
    pub(super) fn after(position: Position) -> Cursor {
        Cursor::At {
            last: position.seq,
            epoch: position.epoch,
            max_first: None,
        }
    }

    /// Where to start when subscribing again.
    pub(super) fn start(&self) -> Start {
        match (self, self.position()) {
            (Cursor::Fresh(start), _) => start.clone(),
            (_, Some(position)) => position.into(),
            (_, None) => Start::Now,
        }
    }

    /// The topic does not exist: when it does, all its events are new, unless the subscription has a position.
    pub(super) fn begin_with_the_topic(&mut self) {
        if matches!(self, Cursor::Fresh(Start::Now | Start::Last(_))) {
            *self = Cursor::Fresh(Start::After {
                seq: 0,
                epoch: None,
            });
        }
    }

    /// The position; `None` before the first ack.
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

    /// Handles the ack of a subscribe at [`start`](Cursor::start).
    pub(super) fn on_ack(&mut self, ack: &StartAck<'_>) -> Result<(), Error> {
        let at = |last, max_first| Cursor::At {
            last,
            epoch: ack.epoch.into(),
            max_first,
        };
        *self = match self.start() {
            Start::Now | Start::Last(0) => at(ack.seq, None),
            Start::Last(n) => at(ack.seq.saturating_sub(n), Some(ack.seq)),
            Start::After { seq, epoch: None } => at(seq, None),
            Start::After {
                seq,
                epoch: Some(epoch),
            } if *epoch == *ack.epoch && !ack.is_behind(seq) => at(seq, None),
            Start::After { .. } if ack.recovered == Some(true) => {
                return Err(Error::protocol("recovered a position of another epoch"));
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

    pub(super) fn on_event(&mut self, seq: u64) -> Result<(), Error> {
        self.advance(seq, seq, "event")
    }

    /// Handles a gap. With `next`, the epoch has ended on a live subscription, and the next event is the one after it.
    pub(super) fn on_gap(&mut self, gap: &Gap, next: Option<Position>) -> Result<(), Error> {
        if let Some(position) = next {
            *self = Cursor::after(position);
            return Ok(());
        }
        match (&*self, gap.range()) {
            (_, Some((from, to))) => self.advance(from, to, "gap"),
            (Cursor::Moved { to, newest, .. }, None) if gap.reason() == GapReason::EpochChanged => {
                *self = Cursor::At {
                    last: 0,
                    epoch: Arc::clone(to),
                    max_first: Some(*newest),
                };
                Ok(())
            }
            _ => Err(Error::protocol(format!(
                "a gap without numbers ({})",
                gap.reason()
            ))),
        }
    }

    /// Moves to `to` if `from` is the next expected `seq`.
    fn advance(&mut self, from: u64, to: u64, what: &str) -> Result<(), Error> {
        let Cursor::At {
            last, max_first, ..
        } = self
        else {
            return Err(Error::protocol(format!("an {what} before the ack or gap")));
        };
        let latest = max_first.unwrap_or(*last).max(*last).saturating_add(1);
        if from <= *last || from > latest {
            return Err(Error::protocol(format!(
                "{what} {from} arrived, expected {}",
                last.saturating_add(1)
            )));
        }
        (*last, *max_first) = (to, None);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(seq: u64, epoch: &str, recovered: Option<bool>) -> StartAck<'_> {
        StartAck {
            seq,
            epoch,
            recovered,
        }
    }

    fn after(start: Start, ack: &StartAck<'_>) -> Cursor {
        let mut cursor = Cursor::Fresh(start);
        cursor.on_ack(ack).unwrap();
        cursor
    }

    fn gap(range: Option<(u64, u64)>, reason: GapReason) -> Gap {
        Gap::new("t", range, reason)
    }

    fn position_of(cursor: &Cursor) -> (u64, String) {
        let position = cursor.position().unwrap();
        (position.seq, position.epoch.to_string())
    }

    #[test]
    fn live_events_must_be_consecutive() {
        let mut cursor = after(Start::Now, &ack(7, "e", None));
        assert!(cursor.on_event(9).is_err());
        assert!(cursor.on_event(7).is_err());
        cursor.on_event(8).unwrap();
        cursor
            .on_gap(&gap(Some((9, 20)), GapReason::SlowConsumer), None)
            .unwrap();
        assert!(cursor.on_event(20).is_err());
        cursor.on_event(21).unwrap();
        assert_eq!(position_of(&cursor), (21, "e".to_owned()));
    }

    #[test]
    fn replay_begins_within_the_requested_range() {
        let cursor = after(Start::Last(5), &ack(20, "e", None));
        for (seq, fits) in [(15, false), (16, true), (20, true), (21, true), (22, false)] {
            assert_eq!(cursor.clone().on_event(seq).is_ok(), fits, "{seq}");
        }
        assert_eq!(
            position_of(&cursor),
            (15, "e".to_owned()),
            "no event is lost if the connection ends here"
        );
    }

    #[test]
    fn old_position_is_valid_until_the_epoch_change_is_reported() {
        let mut cursor = after(Start::Now, &ack(7, "old", None));
        cursor.on_ack(&ack(3, "new", Some(false))).unwrap();
        assert_eq!(position_of(&cursor), (7, "old".to_owned()));
        assert!(cursor.clone().on_event(1).is_err());
        let changed = gap(None, GapReason::EpochChanged);
        cursor.on_gap(&changed, None).unwrap();
        assert_eq!(position_of(&cursor), (0, "new".to_owned()));
        assert!(cursor.clone().on_gap(&changed, None).is_err());
        cursor.on_event(2).unwrap();
        assert!(cursor.on_event(4).is_err());
    }

    #[test]
    fn resume_starts_at_the_position_and_expects_the_next_event() {
        let mut cursor = after(Start::Last(5), &ack(20, "e", None));
        cursor.on_event(18).unwrap();
        let position = cursor.position().unwrap();
        assert_eq!(cursor.start(), Start::from(position));
        cursor.on_ack(&ack(30, "e", Some(true))).unwrap();
        assert!(cursor.clone().on_event(20).is_err());
        cursor.on_event(19).unwrap();
    }

    #[test]
    fn position_round_trips_through_json() {
        let position = Position {
            seq: 41,
            epoch: "9f2c61d0a7b34e18".into(),
        };
        let json = serde_json::to_string(&position).unwrap();
        assert_eq!(json, r#"{"seq":41,"epoch":"9f2c61d0a7b34e18"}"#);
        assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), position);
    }

    fn position(seq: u64, epoch: &str) -> Position {
        Position {
            seq,
            epoch: epoch.into(),
        }
    }

    #[test]
    fn live_epoch_change_moves_to_its_position() {
        let changed = gap(None, GapReason::EpochChanged);
        let before_the_first = after(Start::Last(5), &ack(20, "old", None));
        let mut live = after(Start::Now, &ack(20, "old", None));
        live.on_event(21).unwrap();
        for mut cursor in [before_the_first, live] {
            cursor.on_gap(&changed, Some(position(3, "new"))).unwrap();
            assert_eq!(position_of(&cursor), (3, "new".to_owned()));
            assert_eq!(cursor.start(), Start::from(position(3, "new")));
            for seq in [3, 5, 22] {
                assert!(cursor.clone().on_event(seq).is_err(), "{seq}");
            }
            cursor.on_event(4).unwrap();
            assert_eq!(position_of(&cursor), (4, "new".to_owned()));
        }
    }

    #[test]
    fn topic_that_is_behind_in_its_own_epoch_begins_anew() {
        let mut cursor = after(Start::Now, &ack(20, "e", None));
        cursor.on_ack(&ack(12, "e", Some(false))).unwrap();
        assert_eq!(position_of(&cursor), (20, "e".to_owned()));
        assert!(cursor.clone().on_event(13).is_err(), "a gap is next");
        let changed = gap(None, GapReason::EpochChanged);
        cursor.on_gap(&changed, None).unwrap();
        for (seq, fits) in [(1, true), (12, true), (13, true), (14, false), (21, false)] {
            assert_eq!(cursor.clone().on_event(seq).is_ok(), fits, "{seq}");
        }
    }

    #[test]
    fn resume_that_has_lost_its_history_stays_at_its_position() {
        let mut cursor = after(Start::Now, &ack(20, "e", None));
        cursor.on_ack(&ack(30, "e", Some(false))).unwrap();
        let evicted = gap(Some((21, 25)), GapReason::HistoryEvicted);
        cursor.on_gap(&evicted, None).unwrap();
        cursor.on_event(26).unwrap();
    }

    #[test]
    fn position_of_another_epoch_cannot_be_recovered() {
        let mut cursor = after(Start::Now, &ack(7, "old", None));
        assert!(cursor.on_ack(&ack(7, "new", Some(true))).is_err());
    }
}
