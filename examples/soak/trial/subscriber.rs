//! A subscriber: one connection, subscriptions to some topics, and the check of each. It reconnects and resumes whenever the
//! connection ends.

use std::time::{Duration, Instant};

use threadcast::config::OverflowPolicy;
use threadcast::load::{Connection, Failure, Incoming};

use super::check::{Asked, Start, TopicCheck};
use super::message::{ServerMessage, topic_name};
use super::shared::{Counts, Shared, policy_of};

/// How long the last events may take.
const DRAIN_DEADLINE: Duration = Duration::from_secs(60);

/// Who a subscriber is.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) client_id: String,
    pub(crate) topics: Vec<usize>,
    pub(crate) receive_buffer_bytes: Option<usize>,
    /// Another subscriber has the same client id.
    pub(crate) has_rival: bool,
    /// It gets no gap, and is never disconnected.
    pub(crate) misses_nothing: bool,
}

#[derive(Debug)]
pub(crate) struct Subscriber<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) identity: Identity,
    /// By topic; `None` where it never subscribes.
    pub(crate) checks: Vec<Option<TopicCheck>>,
    pub(crate) counts: Counts,
    /// A topic whose subscription was just taken over.
    pub(super) taken_over: Option<usize>,
    connection: Connection,
}

impl<'a> Subscriber<'a> {
    /// Connects and asks for live events of all its topics.
    pub(crate) fn start(shared: &'a Shared, identity: Identity) -> Result<Self, Failure> {
        let connection = open(shared, &identity)?;
        let check = |topic| identity.topics.contains(&topic).then(TopicCheck::default);
        let mut subscriber = Subscriber {
            checks: (0..shared.plan.topics).map(check).collect(),
            shared,
            counts: Counts::default(),
            taken_over: None,
            connection,
            identity,
        };
        for topic in subscriber.identity.topics.clone() {
            subscriber.subscribe(topic, Start::Live);
        }
        Ok(subscriber)
    }

    /// Reads one message; `false` when none came.
    pub(crate) fn read(&mut self) -> Result<bool, Failure> {
        match self.connection.read_text() {
            Incoming::Text(text) => {
                let message = ServerMessage::parse(text);
                self.check_message(message);
                self.return_from_takeover();
                return Ok(true);
            }
            Incoming::Idle => {}
            Incoming::Closed(code) => {
                self.counts.disconnects += 1;
                if !self.may_be_ended() {
                    self.violation(&format!("was closed with {code:?}"));
                }
                self.reconnect(false)?;
            }
        }
        Ok(false)
    }

    /// A subscriber without a rival was taken over by its own stale request: it resumes, unless it waits for another answer.
    fn return_from_takeover(&mut self) {
        let Some(topic) = self.taken_over.take() else {
            return;
        };
        let is_asked = |check: &TopicCheck| check.asked.is_some() || check.leaving;
        if !self.identity.has_rival && !self.checks[topic].as_ref().is_some_and(is_asked) {
            self.resume(topic);
        }
    }

    /// Cuts the connection, wherever in a frame it is, and resumes on a new one.
    pub(crate) fn cut_and_resume(&mut self) -> Result<(), Failure> {
        self.connection.cut();
        self.counts.cuts += 1;
        self.reconnect(true)
    }

    fn reconnect(&mut self, cut_by_client: bool) -> Result<(), Failure> {
        self.connection = open(self.shared, &self.identity)?;
        for topic in self.identity.topics.clone() {
            let Some(check) = &mut self.checks[topic] else {
                continue;
            };
            check.disconnected(cut_by_client);
            if check.wanted {
                self.resume(topic);
            }
        }
        Ok(())
    }

    /// Subscribes from its position; the first time, from now on.
    pub(crate) fn resume(&mut self, topic: usize) {
        let Some(check) = &self.checks[topic] else {
            return;
        };
        let start = match self.shared.records[topic].epoch() {
            "" => Start::Live,
            _ => Start::After(check.position()),
        };
        self.counts.resumes += 1;
        self.subscribe(topic, start);
    }

    pub(crate) fn subscribe(&mut self, topic: usize, start: Start) {
        let record = &self.shared.records[topic];
        let Some(check) = &mut self.checks[topic] else {
            return;
        };
        check.wanted = true;
        check.asked = Some(Asked {
            start,
            newest_acked: record.newest_acked(),
        });
        let from = match start {
            Start::Live => String::new(),
            Start::LastN(events) => format!(r#","last_n":{events}"#),
            Start::After(seq) => format!(r#","after_seq":{seq},"epoch":"{}""#, record.epoch()),
        };
        self.ask("subscribe", topic, &from);
    }

    pub(crate) fn unsubscribe(&mut self, topic: usize) {
        if let Some(check) = &mut self.checks[topic] {
            check.leaving = true;
            self.ask("unsubscribe", topic, "");
        }
    }

    fn ask(&mut self, what: &str, topic: usize, more: &str) {
        let (name, client_id) = (topic_name(topic), &self.identity.client_id);
        let text = format!(
            r#"{{"type":"{what}","topic":"{name}","client_id":"{client_id}","request_id":"{what} {topic}"{more}}}"#
        );
        self.connection.add_text(text.as_bytes());
        // If the connection has ended, the next read says so.
        let _ = self.connection.send();
    }

    /// Publishing is over: reads every wanted subscription to its head, and unsubscribes.
    pub(crate) fn drain(&mut self) -> Result<(), Failure> {
        let heads = self.shared.heads().unwrap_or_default();
        let deadline = Instant::now() + DRAIN_DEADLINE;
        while !self.leave_what_is_complete(heads) {
            self.read()?;
            if Instant::now() > deadline {
                self.violation(&format!("not complete at {heads:?}: {:?}", self.checks));
                break;
            }
        }
        Ok(())
    }

    /// `true` when every subscription has ended.
    fn leave_what_is_complete(&mut self, heads: &[u64]) -> bool {
        let mut all_ended = true;
        for (topic, head) in heads.iter().enumerate() {
            let Some(check) = &self.checks[topic] else {
                continue;
            };
            let complete = check.position() == *head || !check.wanted;
            let waits = check.asked.is_some() || check.leaving;
            let live = check.live;
            all_ended &= complete && !waits && !live;
            match (waits, live, complete) {
                (false, true, true) => self.unsubscribe(topic),
                (false, false, false) => self.resume(topic),
                _ => {}
            }
        }
        all_ended
    }

    /// Whether one of its topics has a policy that ends connections.
    pub(super) fn may_be_ended(&self) -> bool {
        let ends = |topic: &usize| policy_of(*topic) != OverflowPolicy::DropOldest;
        !self.identity.misses_nothing && self.identity.topics.iter().any(ends)
    }

    pub(super) fn check(&self, topic: usize, result: Result<(), String>) {
        self.shared.check(&self.identity.name, topic, result);
    }

    pub(super) fn violation(&self, what: &str) {
        self.shared
            .violation(format!("{} {what}", self.identity.name));
    }
}

fn open(shared: &Shared, identity: &Identity) -> Result<Connection, Failure> {
    let key = shared.keys.as_ref().map(|keys| keys.fixed());
    shared.connect(identity.receive_buffer_bytes, key)
}
