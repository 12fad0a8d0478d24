//! A subscriber: one connection, subscriptions to some topics, and the account of each. When the connection ends, for
//! whatever reason, it connects anew and resumes. What else it does is its habit.

use std::time::{Duration, Instant};

use threadcast::config::OverflowPolicy;

use super::Failure;
use super::account::{Account, Asked, Start};
use super::message::topic_name;
use super::tally::Tally;
use super::wire::{Connection, Incoming};
use super::world::{World, policy_of};

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
    /// It is never told a gap, nor ended.
    pub(crate) misses_nothing: bool,
}

#[derive(Debug)]
pub(crate) struct Subscriber<'a> {
    pub(crate) world: &'a World,
    pub(crate) identity: Identity,
    /// By topic; `None` where it never subscribes.
    pub(crate) accounts: Vec<Option<Account>>,
    pub(crate) tally: Tally,
    /// A topic that was taken over just now.
    pub(super) taken_over: Option<usize>,
    connection: Connection,
}

impl<'a> Subscriber<'a> {
    /// Connects and asks for live events of all its topics.
    pub(crate) fn start(world: &'a World, identity: Identity) -> Result<Self, Failure> {
        let connection = open(world, &identity)?;
        let account = |topic| identity.topics.contains(&topic).then(Account::default);
        let mut subscriber = Subscriber {
            accounts: (0..world.plan.topics).map(account).collect(),
            world,
            tally: Tally::default(),
            taken_over: None,
            connection,
            identity,
        };
        for topic in subscriber.identity.topics.clone() {
            subscriber.subscribe(topic, Start::Live);
        }
        Ok(subscriber)
    }

    /// Reads one message, or finds that there is none; `true` when there was one.
    pub(crate) fn read(&mut self) -> Result<bool, Failure> {
        match self.connection.next() {
            Incoming::Said(said) => {
                self.take(said);
                self.return_from_takeover();
                return Ok(true);
            }
            Incoming::Idle => {}
            Incoming::Closed(code) => {
                self.tally.disconnects += 1;
                if !self.may_be_ended() {
                    self.complain(&format!("was closed with {code:?}"));
                }
                self.reconnect(false)?;
            }
        }
        Ok(false)
    }

    /// One without a rival was taken over by its own past: it resumes, unless it has asked for something else already.
    fn return_from_takeover(&mut self) {
        let Some(topic) = self.taken_over.take() else {
            return;
        };
        let is_asked = |account: &Account| account.asked.is_some() || account.leaving;
        if !self.identity.has_rival && !self.accounts[topic].as_ref().is_some_and(is_asked) {
            self.resume(topic);
        }
    }

    /// Cuts the connection, wherever in a frame it is, and resumes on a new one.
    pub(crate) fn cut_and_resume(&mut self) -> Result<(), Failure> {
        self.connection.cut();
        self.tally.cuts += 1;
        self.reconnect(true)
    }

    fn reconnect(&mut self, cut_by_client: bool) -> Result<(), Failure> {
        self.connection = open(self.world, &self.identity)?;
        for topic in self.identity.topics.clone() {
            let Some(account) = &mut self.accounts[topic] else {
                continue;
            };
            account.disconnected(cut_by_client);
            if account.wanted {
                self.resume(topic);
            }
        }
        Ok(())
    }

    /// Subscribes from where its account stands; from now on, where it was never subscribed.
    pub(crate) fn resume(&mut self, topic: usize) {
        let Some(account) = &self.accounts[topic] else {
            return;
        };
        let start = match self.world.truths[topic].epoch() {
            "" => Start::Live,
            _ => Start::After(account.position),
        };
        self.tally.resumes += 1;
        self.subscribe(topic, start);
    }

    pub(crate) fn subscribe(&mut self, topic: usize, start: Start) {
        let truth = &self.world.truths[topic];
        let Some(account) = &mut self.accounts[topic] else {
            return;
        };
        account.wanted = true;
        account.asked = Some(Asked {
            start,
            newest_acked: truth.newest_acked(),
        });
        let from = match start {
            Start::Live => String::new(),
            Start::LastN(events) => format!(r#","last_n":{events}"#),
            Start::After(seq) => format!(r#","after_seq":{seq},"epoch":"{}""#, truth.epoch()),
        };
        self.ask("subscribe", topic, &from);
    }

    pub(crate) fn unsubscribe(&mut self, topic: usize) {
        if let Some(account) = &mut self.accounts[topic] {
            account.leaving = true;
            self.ask("unsubscribe", topic, "");
        }
    }

    fn ask(&mut self, what: &str, topic: usize, more: &str) {
        let (name, client_id) = (topic_name(topic), &self.identity.client_id);
        let text = format!(
            r#"{{"type":"{what}","topic":"{name}","client_id":"{client_id}","request_id":"{what} {topic}"{more}}}"#
        );
        self.connection.add(text.as_bytes());
        // If it is closed, the next read says so.
        let _ = self.connection.send();
    }

    /// Nothing is published any more: reads every wanted subscription to its head, and leaves it.
    pub(crate) fn drain(&mut self) -> Result<(), Failure> {
        let heads = self.world.heads().unwrap_or_default();
        let deadline = Instant::now() + DRAIN_DEADLINE;
        while !self.leave_what_is_complete(heads) {
            self.read()?;
            if Instant::now() > deadline {
                self.complain(&format!("not complete at {heads:?}: {:?}", self.accounts));
                break;
            }
        }
        Ok(())
    }

    /// `true` when every subscription has ended.
    fn leave_what_is_complete(&mut self, heads: &[u64]) -> bool {
        let mut all_ended = true;
        for (topic, head) in heads.iter().enumerate() {
            let Some(account) = &self.accounts[topic] else {
                continue;
            };
            let complete = account.position == *head || !account.wanted;
            let waits = account.asked.is_some() || account.leaving;
            let live = account.live;
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
        self.world.check(&self.identity.name, topic, result);
    }

    pub(super) fn complain(&self, what: &str) {
        self.world
            .violation(format!("{} {what}", self.identity.name));
    }
}

fn open(world: &World, identity: &Identity) -> Result<Connection, Failure> {
    let key = world.keys.as_ref().map(|keys| keys.house());
    Connection::open(world.server, identity.receive_buffer_bytes, key)
}
