//! Checks every message that a subscriber receives.

use serde_json::Value;
use threadcast::config::OverflowPolicy;

use super::HISTORY_SIZE;
use super::check::SubscribeAck;
use super::message::ServerMessage;
use super::shared::policy_of;
use super::subscriber::Subscriber;

impl Subscriber<'_> {
    /// Checks one message; one that should not have come is a violation.
    pub(super) fn check_message(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Event {
                topic,
                published_to,
                id,
                seq,
            } => {
                let Some(Some(check)) = self.checks.get_mut(topic) else {
                    return self.violation(&format!("got an event of topic {topic}"));
                };
                self.counts.received += 1;
                let in_order = check.event(seq);
                self.check(topic, in_order);
                self.check(topic, self.shared.records[topic].delivered(seq, id));
                if published_to != topic {
                    self.violation(&format!("got {id:?} of {published_to} in topic {topic}"));
                }
            }
            ServerMessage::PublishAck { .. } => self.violation(&format!("got {message:?}")),
            ServerMessage::Other(message) => {
                if self.check_other(&message).is_none() {
                    self.violation(&format!("got {message}"));
                }
            }
        }
    }

    /// `None` when it should not have come.
    fn check_other(&mut self, message: &Value) -> Option<()> {
        let request = message["request_id"]
            .as_str()
            .and_then(|id| id.split_once(' '));
        let may_be_ended = self.may_be_ended();
        if let ("error", Some(("unsubscribe", topic))) = (message["type"].as_str()?, request) {
            let check = self
                .checks
                .get_mut(topic.parse::<usize>().ok()?)?
                .as_mut()?;
            // The subscription ended with its connection, whose close frame comes next, or by a takeover.
            let expected = may_be_ended || self.identity.has_rival || check.stale_subscribe;
            let ended = message["error"]["code"] == "TOPIC_NOT_FOUND" && expected;
            // The notice of the takeover may come before or after.
            return std::mem::take(&mut check.leaving)
                .then_some(())
                .filter(|()| ended);
        }
        let topic: usize = message["topic"]
            .as_str()?
            .strip_prefix("soak-")?
            .parse()
            .ok()?;
        let check = self.checks.get_mut(topic)?.as_mut()?;
        let seq = message["seq"].as_u64();
        let gap = &message["gap"];
        let result = match (message["type"].as_str()?, request) {
            ("ack", Some(("subscribe", _))) => {
                let recovered = message["recovered"].as_bool();
                let ack = SubscribeAck {
                    seq: seq?,
                    recovered,
                };
                let epoch = self.shared.records[topic].check_epoch(message["epoch"].as_str()?);
                check.subscribed(ack, HISTORY_SIZE as u64).and(epoch)
            }
            ("ack", Some(("unsubscribe", _))) => {
                check.leaving = false;
                check.ended(seq?)
            }
            ("info", None) if message["msg"] == "subscription_replaced" => {
                self.counts.takeovers += 1;
                self.taken_over = Some(topic);
                let expected = self.identity.has_rival || check.stale_subscribe;
                let result = check.ended(seq?);
                result.and(
                    expected
                        .then_some(())
                        .ok_or("replaced by nobody".to_owned()),
                )
            }
            ("info" | "error", None) if gap.is_object() => {
                let count = gap["count"].as_u64()?;
                self.counts.gaps += 1;
                self.counts.reported += count;
                let result = check.gap(gap["from_seq"].as_u64()?, gap["to_seq"].as_u64()?, count);
                let missed = format!("{count} events missed by one that reads all the time");
                result.and((!self.identity.misses_nothing).then_some(()).ok_or(missed))
            }
            ("error", None) => {
                let ends = policy_of(topic) != OverflowPolicy::DropOldest;
                return (ends && !self.identity.misses_nothing).then_some(());
            }
            _ => return None,
        };
        self.check(topic, result);
        Some(())
    }
}
