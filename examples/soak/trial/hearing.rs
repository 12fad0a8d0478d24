//! What a subscriber hears, entered into its accounts.

use serde_json::Value;
use threadcast::config::OverflowPolicy;

use super::account::SubscribeAck;
use super::message::Said;
use super::subscriber::Subscriber;
use super::world::policy_of;

impl Subscriber<'_> {
    /// Enters one message into the account of its topic, and writes down what should not have come.
    pub(super) fn take(&mut self, said: Said) {
        match said {
            Said::Event {
                topic,
                published_to,
                id,
                seq,
            } => {
                let Some(Some(account)) = self.accounts.get_mut(topic) else {
                    return self.complain(&format!("got an event of topic {topic}"));
                };
                self.tally.received += 1;
                let in_place = account.event(seq);
                self.check(topic, in_place);
                self.check(topic, self.world.truths[topic].delivered(seq, id));
                if published_to != topic {
                    self.complain(&format!("got {id:?} of {published_to} in topic {topic}"));
                }
            }
            Said::PublishAck { .. } => self.complain(&format!("got {said:?}")),
            Said::Other(message) => {
                if self.take_other(&message).is_none() {
                    self.complain(&format!("got {message}"));
                }
            }
        }
    }

    /// `None` when it should not have come.
    fn take_other(&mut self, message: &Value) -> Option<()> {
        let request = message["request_id"]
            .as_str()
            .and_then(|id| id.split_once(' '));
        let may_be_ended = self.may_be_ended();
        if let ("error", Some(("unsubscribe", topic))) = (message["type"].as_str()?, request) {
            let account = self
                .accounts
                .get_mut(topic.parse::<usize>().ok()?)?
                .as_mut()?;
            // Ended with its connection, whose close frame comes next, or by another that took it over.
            let expected = may_be_ended || self.identity.has_rival || account.haunted;
            let ended = message["error"]["code"] == "TOPIC_NOT_FOUND" && expected;
            // The notice that says where it ended may come before or after.
            return std::mem::take(&mut account.leaving)
                .then_some(())
                .filter(|()| ended);
        }
        let topic: usize = message["topic"]
            .as_str()?
            .strip_prefix("soak-")?
            .parse()
            .ok()?;
        let account = self.accounts.get_mut(topic)?.as_mut()?;
        let seq = message["seq"].as_u64();
        let gap = &message["gap"];
        let result = match (message["type"].as_str()?, request) {
            ("ack", Some(("subscribe", _))) => {
                let recovered = message["recovered"].as_bool();
                let ack = SubscribeAck {
                    seq: seq?,
                    recovered,
                };
                let epoch = self.world.truths[topic].check_epoch(message["epoch"].as_str()?);
                account
                    .subscribed(ack, self.world.plan.history_size as u64)
                    .and(epoch)
            }
            ("ack", Some(("unsubscribe", _))) => {
                account.leaving = false;
                account.ended(seq?)
            }
            ("info", None) if message["msg"] == "subscription_replaced" => {
                self.tally.takeovers += 1;
                self.taken_over = Some(topic);
                let expected = self.identity.has_rival || account.haunted;
                let result = account.ended(seq?);
                result.and(
                    expected
                        .then_some(())
                        .ok_or("replaced by nobody".to_owned()),
                )
            }
            ("info" | "error", None) if gap.is_object() => {
                let count = gap["count"].as_u64()?;
                self.tally.gaps += 1;
                self.tally.told += count;
                let result = account.gap(gap["from_seq"].as_u64()?, gap["to_seq"].as_u64()?, count);
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
