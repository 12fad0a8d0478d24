//! A publisher: sends numbered messages in batches, with a bounded number in flight, and checks every ack.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use threadcast::client::Client;
use threadcast::config::OverflowPolicy;
use threadcast::load::{Connection, Failure, Incoming};

use super::keys::Keys;
use super::message::{MessageId, ServerMessage, topic_name, write_publish};
use super::shared::{Counts, Random, Shared, policy_of};

const MOST_IN_FLIGHT: u64 = 256;
const MOST_AT_ONCE: u64 = 96;
/// Close codes after a change of the key, and after an administrator closed the connection.
const KEY_WITHDRAWN: u16 = 4001;
const KICKED: u16 = 4101;
/// How long the current key may be refused: until the file is read.
const ENTRY_DEADLINE: Duration = Duration::from_secs(10);
/// What the server was publishing at the moment of the close is published after this time. Much shorter than a publisher waits
/// for a slow subscriber: a message that went on waiting after the close is found.
const UNDER_WAY: Duration = Duration::from_millis(100);
const ENTRY_PAUSE: Duration = Duration::from_millis(5);
const ACK_DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Publisher<'a> {
    shared: &'a Shared,
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
    counts: Counts,
}

impl<'a> Publisher<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        client: &'a Client,
        index: usize,
    ) -> Result<Publisher<'a>, Failure> {
        Ok(Publisher {
            shared,
            client,
            index,
            topics: shared.topics_of_class(index),
            random: Random(shared.plan.seed ^ (index as u64) << 32),
            connection: open(shared)?,
            published: 0,
            in_flight: VecDeque::new(),
            newest: vec![0; shared.plan.topics],
            counts: Counts::default(),
        })
    }

    /// Publishes until it is time to stop, then waits for every ack.
    pub(crate) fn run(mut self) -> Result<Counts, Failure> {
        while Instant::now() < self.shared.publish_until {
            if let Some(round) = self.shared.plan.shape.next_round(self.shared.started) {
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
        Ok(self.counts)
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
            self.connection.add_text(&text);
            self.in_flight.push_back((topic, self.published));
        }
        match self.connection.send() {
            // The next read returns the close code.
            Err(_) if self.shared.plan.shape.withdraws() => Ok(()),
            sent => Ok(sent?),
        }
    }

    fn await_acks(&mut self, left: u64) -> Result<(), Failure> {
        let mut deadline = Instant::now() + ACK_DEADLINE;
        while self.in_flight.len() as u64 > left {
            match self.connection.read_text() {
                Incoming::Text(text) => {
                    let message = ServerMessage::parse(text);
                    self.ack(&message);
                    deadline = Instant::now() + ACK_DEADLINE;
                }
                Incoming::Idle if Instant::now() < deadline => {}
                Incoming::Closed(code) if self.shared.plan.shape.withdraws() => {
                    return self.reconnect(code);
                }
                other => return Err(format!("publisher {}: {other:?}", self.index).into()),
            }
        }
        Ok(())
    }

    /// The connection was closed by the server: messages without an answer may have been published before, and must not be
    /// published from now on.
    fn reconnect(&mut self, code: Option<u16>) -> Result<(), Failure> {
        if !matches!(code, Some(KEY_WITHDRAWN | KICKED)) {
            let text = format!("publisher {} was closed with {code:?}", self.index);
            self.shared.violation(text);
        }
        self.counts.withdrawals += 1;
        thread::sleep(UNDER_WAY);
        for &topic in &self.topics {
            let head = self.client.topic(&topic_name(topic))?.seq;
            let ids = self.in_flight.iter().filter(|(of, _)| *of == topic);
            let ids = ids.map(|(_, number)| MessageId::new(self.index, *number));
            self.shared.leave_unanswered(ids, head);
        }
        self.in_flight.clear();
        self.connection = open(self.shared)?;
        Ok(())
    }

    /// The reason that the server sends before it closes the connection.
    fn is_close_reason(&self, message: &ServerMessage) -> bool {
        let ServerMessage::Other(message) = message else {
            return false;
        };
        self.shared.plan.shape.withdraws() && message["error"]["code"] == "UNAUTHORIZED"
    }

    /// Under `block` a message is refused after too long a wait for a slow subscriber. If it is published nevertheless, the record
    /// of the topic has a message that was never acked.
    fn is_refusal(&self, message: &ServerMessage, next: Option<(usize, u64)>) -> bool {
        let (ServerMessage::Other(message), Some((topic, number))) = (message, next) else {
            return false;
        };
        policy_of(topic) == OverflowPolicy::Block
            && !self.shared.plan.shape.spares_fast_readers()
            && message["error"]["code"] == "UNAVAILABLE"
            && message["request_id"].as_str() == Some(&number.to_string())
    }

    fn ack(&mut self, message: &ServerMessage) {
        if self.is_close_reason(message) {
            return;
        }
        let next = self.in_flight.pop_front();
        if self.is_refusal(message, next) {
            self.counts.refused += 1;
            return;
        }
        let who = format_args!("publisher {}", self.index);
        let ServerMessage::PublishAck { topic, number, seq } = *message else {
            let text = format!("{who} got {message:?} for {next:?}");
            return self.shared.violation(text);
        };
        if next != Some((topic, number)) || seq <= self.newest[topic] {
            let text = format!(
                "{who} got {message:?} for {next:?}, behind {:?}",
                self.newest
            );
            return self.shared.violation(text);
        }
        self.newest[topic] = seq;
        let id = MessageId::new(self.index, number);
        let result = self.shared.records[topic].acked(seq, id);
        if let Err(what) = result {
            self.shared
                .violation(format!("{who}, topic {topic}: {what}"));
        }
    }
}

fn open(shared: &Shared) -> Result<Connection, Failure> {
    let deadline = Instant::now() + ENTRY_DEADLINE;
    loop {
        let key = shared.keys.as_ref().map(Keys::publishers);
        match shared.connect(None, key.as_deref()) {
            Err(_) if key.is_some() && Instant::now() < deadline => thread::sleep(ENTRY_PAUSE),
            opened => return opened,
        }
    }
}
