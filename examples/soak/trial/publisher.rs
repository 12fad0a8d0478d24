//! A publisher: sends numbered messages in pieces, with a bounded number in flight, and checks every ack.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use threadcast::client::Client;
use threadcast::config::OverflowPolicy;

use super::Failure;
use super::keys::Keys;
use super::message::{MessageId, Said, topic_name, write_publish};
use super::random::Random;
use super::tally::Tally;
use super::wire::{Connection, Incoming};
use super::world::{World, policy_of};

const MOST_IN_FLIGHT: u64 = 256;
const MOST_AT_ONCE: u64 = 96;
/// Close codes of a key that was changed, and of an administrator's will.
const KEY_WITHDRAWN: u16 = 4001;
const KICKED: u16 = 4101;
/// How long the current key may be refused: until the file is read.
const ENTRY_DEADLINE: Duration = Duration::from_secs(10);
/// What the server was publishing at the moment of the close is published by then. Far less than publishers wait for a
/// slow subscriber: one that waited at the close and goes on waiting is found.
const UNDER_WAY: Duration = Duration::from_millis(100);
const ENTRY_PAUSE: Duration = Duration::from_millis(5);
const ACK_DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Publisher<'a> {
    world: &'a World,
    client: &'a Client,
    index: usize,
    topics: Vec<usize>,
    random: Random,
    connection: Connection,
    published: u64,
    /// Topic and number of what is not acked yet, in order.
    in_flight: VecDeque<(usize, u64)>,
    /// The newest seq acked, by topic.
    newest: Vec<u64>,
    tally: Tally,
}

impl<'a> Publisher<'a> {
    pub(crate) fn new(
        world: &'a World,
        client: &'a Client,
        index: usize,
    ) -> Result<Publisher<'a>, Failure> {
        Ok(Publisher {
            world,
            client,
            index,
            topics: world.topics_of_class(index),
            random: Random(world.plan.seed ^ (index as u64) << 32),
            connection: open(world)?,
            published: 0,
            in_flight: VecDeque::new(),
            newest: vec![0; world.plan.topics],
            tally: Tally::default(),
        })
    }

    /// Publishes until it is time to stop, then waits for every ack.
    pub(crate) fn run(mut self) -> Result<Tally, Failure> {
        while Instant::now() < self.world.publish_until {
            if let Some(round) = self.world.plan.shape.next_round(self.world.started) {
                thread::sleep(round.saturating_duration_since(Instant::now()));
                self.publish(1)?;
                self.await_acks(0)?;
                continue;
            }
            let most = self.random.within(1..MOST_AT_ONCE);
            self.publish(most)?;
            let left = self.random.within(0..MOST_IN_FLIGHT);
            self.await_acks(left)?;
        }
        self.await_acks(0)?;
        Ok(self.tally)
    }

    fn publish(&mut self, most: u64) -> Result<(), Failure> {
        let room = MOST_IN_FLIGHT - self.in_flight.len() as u64;
        let mut text = Vec::new();
        for _ in 0..most.min(room) {
            let at = self.random.within(0..self.topics.len() as u64) as usize;
            let topic = self.topics[at];
            self.published += 1;
            text.clear();
            write_publish(&mut text, topic, MessageId::new(self.index, self.published));
            self.connection.add(&text);
            self.in_flight.push_back((topic, self.published));
        }
        match self.connection.send() {
            // The next read says how it was closed.
            Err(_) if self.world.plan.shape.withdraws() => Ok(()),
            sent => Ok(sent?),
        }
    }

    fn await_acks(&mut self, left: u64) -> Result<(), Failure> {
        let mut deadline = Instant::now() + ACK_DEADLINE;
        while self.in_flight.len() as u64 > left {
            match self.connection.next() {
                Incoming::Said(said) => {
                    self.ack(&said);
                    deadline = Instant::now() + ACK_DEADLINE;
                }
                Incoming::Idle if Instant::now() < deadline => {}
                Incoming::Closed(code) if self.world.plan.shape.withdraws() => {
                    return self.come_back(code);
                }
                other => return Err(format!("publisher {}: {other:?}", self.index).into()),
            }
        }
        Ok(())
    }

    /// Its connection was closed from outside: what was not answered may have been published before, and must not be
    /// from now on.
    fn come_back(&mut self, code: Option<u16>) -> Result<(), Failure> {
        if !matches!(code, Some(KEY_WITHDRAWN | KICKED)) {
            let text = format!("publisher {} was closed with {code:?}", self.index);
            self.world.violation(text);
        }
        self.tally.withdrawals += 1;
        thread::sleep(UNDER_WAY);
        for &topic in &self.topics {
            let head = self.client.topic(&topic_name(topic))?.seq;
            let ids = self.in_flight.iter().filter(|(of, _)| *of == topic);
            let ids = ids.map(|(_, number)| MessageId::new(self.index, *number));
            self.world.leave_unanswered(ids, head);
        }
        self.in_flight.clear();
        self.connection = open(self.world)?;
        Ok(())
    }

    /// It is told why before it is closed.
    fn is_farewell(&self, said: &Said) -> bool {
        let Said::Other(said) = said else {
            return false;
        };
        self.world.plan.shape.withdraws() && said["error"]["code"] == "UNAUTHORIZED"
    }

    /// Under `block` a message is refused if a slow subscriber left no room for it in time. That it is not published is for
    /// the books of the topic to show: there it would be one that was never acked.
    fn is_refusal(&self, said: &Said, next: Option<(usize, u64)>) -> bool {
        let (Said::Other(said), Some((topic, number))) = (said, next) else {
            return false;
        };
        policy_of(topic) == OverflowPolicy::Block
            && !self.world.plan.shape.spares_fast_readers()
            && said["error"]["code"] == "UNAVAILABLE"
            && said["request_id"].as_str() == Some(&number.to_string())
    }

    fn ack(&mut self, said: &Said) {
        if self.is_farewell(said) {
            return;
        }
        let next = self.in_flight.pop_front();
        if self.is_refusal(said, next) {
            self.tally.refused += 1;
            return;
        }
        let who = format_args!("publisher {}", self.index);
        let Said::PublishAck { topic, number, seq } = *said else {
            let text = format!("{who} got {said:?} for {next:?}");
            return self.world.violation(text);
        };
        if next != Some((topic, number)) || seq <= self.newest[topic] {
            let text = format!("{who} got {said:?} for {next:?}, behind {:?}", self.newest);
            return self.world.violation(text);
        }
        self.newest[topic] = seq;
        let id = MessageId::new(self.index, number);
        let result = self.world.truths[topic].acked(seq, id);
        if let Err(what) = result {
            self.world
                .violation(format!("{who}, topic {topic}: {what}"));
        }
    }
}

fn open(world: &World) -> Result<Connection, Failure> {
    let deadline = Instant::now() + ENTRY_DEADLINE;
    loop {
        let key = world.keys.as_ref().map(Keys::publishers);
        match Connection::open(world.server, None, key.as_deref()) {
            Err(_) if key.is_some() && Instant::now() < deadline => thread::sleep(ENTRY_PAUSE),
            opened => return opened,
        }
    }
}
