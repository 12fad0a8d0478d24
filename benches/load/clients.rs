//! The clients of a load: subscribers, which check the sequence of what they receive, and publishers.

use ::threadcast::load::{Connection, Failure, SequenceChecker, Stamp};
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::Outcome;
use super::protocol::{Message, Protocol};

/// A subscriber, and what it has received.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) connection: Connection,
    pub(super) protocol: &'static dyn Protocol,
    pub(super) sequences: Sequences,
}

impl Subscriber {
    /// Reads once, and checks every message. Unless the subscriber may miss events, a gap is a failure.
    pub(super) fn read(
        &mut self,
        scratch: &mut [u8],
        now: u64,
        may_miss: bool,
        outcome: &mut Outcome,
    ) -> Result<(), Failure> {
        let (protocol, sequences) = (self.protocol, &mut self.sequences);
        self.connection.read_some(scratch, |received| {
            each_message(protocol, received, |message, bytes| match message {
                Message::Event(payload) => {
                    let stamp = Stamp::read(&bytes[payload]).ok_or("an event without a number")?;
                    sequences.event(stamp.number)?;
                    outcome.deliveries += 1;
                    outcome
                        .latencies
                        .record(now.saturating_sub(stamp.sent_nanos));
                    Ok(())
                }
                Message::Gap { count, .. } if !may_miss => {
                    Err(format!("{count} events were dropped for a subscriber that reads").into())
                }
                Message::Gap { from, to, count } => {
                    sequences.gap(from, to, count)?;
                    outcome.reported += count;
                    Ok(())
                }
                Message::Ack => {
                    Err(format!("unexpected: {}", String::from_utf8_lossy(bytes)).into())
                }
                Message::Other => Ok(()),
            })
        })
    }
}

/// The position of a subscriber in the sequence of each publisher, which take turns: only what one publisher sends has an order.
#[derive(Debug)]
pub(super) struct Sequences(Vec<SequenceChecker>);

impl Sequences {
    pub(super) fn new(publishers: usize) -> Sequences {
        Sequences(vec![SequenceChecker::default(); publishers])
    }

    fn event(&mut self, number: u64) -> Result<(), Failure> {
        let before = number.checked_sub(1).ok_or("an event with the number 0")?;
        let publishers = self.0.len() as u64;
        let checker = &mut self.0[(before % publishers) as usize];
        Ok(checker.event(before / publishers + 1)?)
    }

    /// The numbers of a topic are those of its messages only where one publisher sends them all.
    fn gap(&mut self, from: u64, to: u64, count: u64) -> Result<(), Failure> {
        match &mut self.0[..] {
            [checker] => Ok(checker.gap(from, to, count)?),
            _ => Err(format!("a gap from {from} to {to} beside several publishers").into()),
        }
    }

    /// The newest message up to which all were received or reported.
    pub(super) fn position(&self) -> u64 {
        let publishers = self.0.len() as u64;
        let missing = (1..).zip(&self.0);
        let missing = missing.map(|(first, checker)| first + checker.position() * publishers);
        missing.min().unwrap_or(1) - 1
    }
}

/// A publisher, and what it has sent.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) connection: Connection,
    pub(super) protocol: &'static dyn Protocol,
    pub(super) sent: u64,
    pub(super) acked: u64,
    /// Whether the epoll reports when the socket can be written to again.
    pub(super) blocked: bool,
}

impl Publisher {
    /// Sends what the socket takes at once.
    pub(super) fn send(&mut self, epoll: &Epoll, token: u64) -> Result<(), Failure> {
        if self.connection.output().is_empty() {
            return Ok(());
        }
        let blocked = !self.connection.send_some()?;
        if blocked != self.blocked {
            self.blocked = blocked;
            let mut flags = EpollFlags::EPOLLIN;
            flags.set(EpollFlags::EPOLLOUT, blocked);
            epoll.modify(&self.connection, &mut EpollEvent::new(flags, token))?;
        }
        Ok(())
    }

    /// Reads once; returns how many messages were acknowledged.
    pub(super) fn read(&mut self, scratch: &mut [u8]) -> Result<u64, Failure> {
        let before = self.acked;
        let (protocol, acked) = (self.protocol, &mut self.acked);
        self.connection.read_some(scratch, |received| {
            each_message(protocol, received, |message, bytes| match message {
                Message::Ack => {
                    *acked += 1;
                    Ok(())
                }
                Message::Other => Ok(()),
                _ => Err(format!("no ack: {}", String::from_utf8_lossy(bytes)).into()),
            })
        })?;
        if self.acked > self.sent {
            return Err(format!("{} acks for {} messages", self.acked, self.sent).into());
        }
        Ok(self.acked - before)
    }
}

/// Passes on all messages that are whole; returns how many bytes they take.
fn each_message(
    protocol: &dyn Protocol,
    received: &[u8],
    mut on_message: impl FnMut(Message, &[u8]) -> Result<(), Failure>,
) -> Result<usize, Failure> {
    let mut at = 0;
    while let Some((length, message)) = protocol.first_message(&received[at..])? {
        on_message(message, &received[at..at + length])?;
        at += length;
    }
    Ok(at)
}
