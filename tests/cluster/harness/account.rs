//! The account of one subscription, also across resumes on other nodes: every event once and in order, or reported in a gap. Pure.

use std::sync::Arc;

use serde_json::Value;
use threadcast::load::SequenceChecker;

/// An event as a subscription received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) epoch: Arc<str>,
    pub(crate) seq: u64,
    pub(crate) id: String,
    pub(crate) ts: String,
}

/// Where a subscription stands in the sequence of its epoch.
#[derive(Debug, Clone, Copy)]
enum Position {
    Known(SequenceChecker),
    /// The replay of a foreign epoch begins with the oldest event in the history; `head` is the newest.
    BeforeReplay {
        head: u64,
    },
}

/// What one subscription was sent.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    topic: String,
    epoch: Arc<str>,
    position: Position,
    /// The newest seq and the epoch of an ack that must be followed by a gap notice.
    expects_gap: Option<(u64, Arc<str>)>,
    pub(crate) events: Vec<Received>,
    /// Events reported in gaps.
    pub(crate) skipped: u64,
    /// Gap notices, `epoch_changed` among them.
    pub(crate) gaps: Vec<Value>,
    pub(crate) epoch_changes: u64,
    /// Why it ended: `topic_deleted` or `subscription_replaced`.
    pub(crate) end: Option<String>,
    /// What is neither an event, nor a gap, nor the end.
    pub(crate) notices: Vec<Value>,
}

impl Account {
    /// A subscription without a replay, from its ack.
    pub(crate) fn from_ack(topic: &str, ack: &Value) -> Account {
        Account {
            topic: topic.to_owned(),
            epoch: text(ack, "epoch").expect("an ack has an epoch").into(),
            position: after(number(ack, "seq").expect("an ack has a seq")),
            expects_gap: None,
            events: Vec::new(),
            skipped: 0,
            gaps: Vec::new(),
            epoch_changes: 0,
            end: None,
            notices: Vec::new(),
        }
    }

    pub(crate) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The last seq that was received or reported: where a resume goes on.
    pub(crate) fn position(&self) -> u64 {
        match &self.position {
            Position::Known(checker) => checker.position(),
            Position::BeforeReplay { .. } => 0,
        }
    }

    /// Where it stands, for the message of a test that fails.
    pub(crate) fn summary(&self) -> String {
        format!(
            "at {} of {}, {} events, {} skipped, gaps {:?}, end {:?}",
            self.position(),
            self.epoch,
            self.events.len(),
            self.skipped,
            self.gaps,
            self.end
        )
    }

    /// The ids of the events received, in order.
    pub(crate) fn ids(&self) -> Vec<&str> {
        self.events.iter().map(|event| event.id.as_str()).collect()
    }

    /// Takes the ack of a resume.
    pub(crate) fn resume(&mut self, ack: &Value) -> Result<(), String> {
        let epoch: Arc<str> = text(ack, "epoch")?.into();
        let head = number(ack, "seq")?;
        match ack["recovered"].as_bool() {
            Some(true) if epoch != self.epoch => Err("recovered in another epoch".to_owned()),
            Some(true) if head < self.position() => Err("recovered behind the topic".to_owned()),
            Some(true) => {
                self.position = after(self.position());
                self.expects_gap = None;
                Ok(())
            }
            Some(false) => {
                self.expects_gap = Some((head, epoch));
                Ok(())
            }
            None => Err("the ack of a resume has no recovered".to_owned()),
        }
    }

    /// Takes the next message of the subscription.
    pub(crate) fn take(&mut self, message: &Value) -> Result<(), String> {
        let kind = message["msg"].as_str().or(message["type"].as_str());
        let is_gap = message.get("gap").is_some();
        if message["topic"] != self.topic.as_str() && (is_gap || kind == Some("event")) {
            return Err(format!("of another topic than {}", self.topic));
        }
        if self.expects_gap.is_some() && !is_gap {
            return Err("expected a gap notice behind an ack with recovered false".to_owned());
        }
        match kind {
            _ if is_gap => self.take_gap(message),
            Some("event") => self.take_event(message),
            Some(end @ ("topic_deleted" | "subscription_replaced")) => self.take_end(end, message),
            _ => {
                self.notices.push(message.clone());
                Ok(())
            }
        }
    }

    /// Fails unless received + reported is all that was published up to `head` in this epoch.
    pub(crate) fn check_complete(&self, epoch: &str, head: u64) -> Result<(), String> {
        if *self.epoch != *epoch {
            return Err(format!("in epoch {} instead of {epoch}", self.epoch));
        }
        match &self.position {
            Position::Known(checker) => checker.check_complete(head),
            Position::BeforeReplay { head: 0 } if head == 0 => Ok(()),
            Position::BeforeReplay { .. } => Err("before its replay".to_owned()),
        }
    }

    fn take_event(&mut self, event: &Value) -> Result<(), String> {
        self.check_not_ended()?;
        let seq = number(event, "seq")?;
        self.begin_replay(seq)?;
        let checked = self.checker()?.event(seq);
        self.events.push(Received {
            epoch: Arc::clone(&self.epoch),
            seq,
            id: text(&event["message"], "id")?.to_owned(),
            ts: text(event, "ts")?.to_owned(),
        });
        checked
    }

    fn take_gap(&mut self, notice: &Value) -> Result<(), String> {
        self.check_not_ended()?;
        self.gaps.push(notice.clone());
        let gap = &notice["gap"];
        match text(gap, "reason")? {
            "epoch_changed" => self.change_epoch(notice),
            "history_evicted" | "slow_consumer" => self.skip(gap),
            other => Err(format!("the reason of a gap is {other}")),
        }
    }

    fn skip(&mut self, gap: &Value) -> Result<(), String> {
        if let Some((_, epoch)) = self.expects_gap.take()
            && epoch != self.epoch
        {
            return Err("expected epoch_changed: the ack has another epoch".to_owned());
        }
        let (from, to, count) = (
            number(gap, "from_seq")?,
            number(gap, "to_seq")?,
            number(gap, "count")?,
        );
        self.begin_replay(from)?;
        self.skipped += count;
        self.checker()?.gap(from, to, count)
    }

    /// On a resume the ack had epoch and seq, and the history is replayed; live, the notice has them.
    fn change_epoch(&mut self, notice: &Value) -> Result<(), String> {
        self.epoch_changes += 1;
        if let Some((head, epoch)) = self.expects_gap.take() {
            self.epoch = epoch;
            self.position = Position::BeforeReplay { head };
            return Ok(());
        }
        let epoch = text(notice, "epoch")?;
        if *epoch == *self.epoch {
            return Err("epoch_changed to the same epoch".to_owned());
        }
        self.epoch = epoch.into();
        self.position = after(number(notice, "seq")?);
        Ok(())
    }

    fn take_end(&mut self, end: &str, notice: &Value) -> Result<(), String> {
        self.check_not_ended()?;
        self.end = Some(end.to_owned());
        match number(notice, "seq") {
            Ok(seq) if seq != self.position() => Err(format!("expected seq {}", self.position())),
            Err(missing) if end == "subscription_replaced" => Err(missing),
            _ => Ok(()),
        }
    }

    fn check_not_ended(&self) -> Result<(), String> {
        match &self.end {
            Some(end) => Err(format!("after {end}")),
            None => Ok(()),
        }
    }

    /// The first event of a replay may be any that is still kept, but no event after `head` may be missed.
    fn begin_replay(&mut self, first: u64) -> Result<(), String> {
        let Position::BeforeReplay { head } = self.position else {
            return Ok(());
        };
        self.position = after(first.saturating_sub(1));
        match first {
            first if first > head + 1 => Err(format!("the replay up to {head} begins behind it")),
            _ => Ok(()),
        }
    }

    fn checker(&mut self) -> Result<&mut SequenceChecker, String> {
        match &mut self.position {
            Position::Known(checker) => Ok(checker),
            Position::BeforeReplay { .. } => Err("before its replay".to_owned()),
        }
    }
}

fn after(seq: u64) -> Position {
    Position::Known(SequenceChecker::after(seq))
}

fn number(object: &Value, field: &str) -> Result<u64, String> {
    let value = object[field].as_u64();
    value.ok_or_else(|| format!("no {field}"))
}

fn text<'v>(object: &'v Value, field: &str) -> Result<&'v str, String> {
    let value = object[field].as_str();
    value.ok_or_else(|| format!("no {field}"))
}
