//! A subscriber that checks all that it gets, against the numbers in the payloads.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use threadcast::client::{Client, Delivery, Error, Event, Gap, Start, Subscription};

use super::halt::Halt;
use super::histogram::Histogram;
use super::ledger::Ledger;
use super::payload::{Press, Stamp, UNTIMED};

/// After so long without any delivery nobody waits for the rest: what is missing shows when the topics end.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a reader that gets nothing looks whether it is to go on.
const TICK: Duration = Duration::from_millis(100);
/// A reader to which nothing comes for so long has been forgotten.
const SILENCE: Duration = Duration::from_secs(30);

/// Why a reader cannot go on.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// The server has broken its promise.
    Broken(String),
    /// Something else.
    Failed(String),
}

/// What came next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Delivery,
    /// A topic has ended in order; the others go on.
    TopicOver,
    /// It is told to stop.
    Halted,
}

/// What publisher and subscribers of a scene have in common.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) press: Press,
    pub(super) halt: Halt,
    /// Events received or told as gaps, all subscribers together.
    delivered: Arc<AtomicU64>,
}

impl Run {
    pub(super) fn new(payload_bytes: usize, halt: &Halt) -> Run {
        Run {
            press: Press::new(payload_bytes),
            halt: halt.clone(),
            delivered: Arc::default(),
        }
    }

    /// Waits until so much is delivered, or nothing comes any more.
    pub(super) fn wait_for(&self, deliveries: u64) {
        let mut last = (self.delivered.load(Ordering::Relaxed), Instant::now());
        while last.0 < deliveries && last.1.elapsed() < PATIENCE && !self.halt.is_called() {
            thread::sleep(Duration::from_micros(200));
            let now = self.delivered.load(Ordering::Relaxed);
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
    }
}

/// One subscriber with its books.
pub(super) struct Reader {
    subscription: Subscription,
    run: Run,
    topics: HashMap<String, Ledger>,
    ended: usize,
    books: Books,
}

/// What a reader has found.
#[derive(Debug, Clone)]
pub(super) struct Books {
    pub(super) received: u64,
    pub(super) told_as_gaps: u64,
    pub(super) latency: Histogram,
}

impl Books {
    pub(super) fn new() -> Books {
        Books {
            received: 0,
            told_as_gaps: 0,
            latency: Histogram::new(),
        }
    }

    pub(super) fn add(&mut self, other: &Books) {
        self.received += other.received;
        self.told_as_gaps += other.told_as_gaps;
        self.latency += &other.latency;
    }
}

impl Reader {
    pub(super) fn open(client: &Client, topics: &[&str], run: &Run) -> Result<Reader, Trouble> {
        let mut subscriber = client.subscriber();
        for topic in topics {
            subscriber = subscriber.topic(topic, Start::Now);
        }
        let books = topics
            .iter()
            .map(|topic| (topic.to_string(), Ledger::new()));
        Ok(Reader {
            subscription: subscriber.open().map_err(trouble)?,
            run: run.clone(),
            topics: books.collect(),
            ended: 0,
            books: Books::new(),
        })
    }

    /// Waits for what comes next. In time it must: whoever waits here knows that there is more.
    pub(super) fn step(&mut self) -> Result<Step, Trouble> {
        let since = Instant::now();
        loop {
            if self.run.halt.is_called() {
                return Ok(Step::Halted);
            }
            match self.subscription.recv_timeout(TICK) {
                Ok(Some(Delivery::Event(event))) => {
                    self.enter(&event)?;
                    return Ok(Step::Delivery);
                }
                Ok(Some(Delivery::Gap(gap))) => {
                    self.enter_gap(&gap)?;
                    return Ok(Step::Delivery);
                }
                Ok(Some(_)) => {}
                Ok(None) if since.elapsed() > SILENCE => {
                    return Err(Trouble::Broken(format!(
                        "nothing came for {SILENCE:?}, neither events nor the end of the topic"
                    )));
                }
                Ok(None) => {}
                Err(Error::Ended { .. }) => {
                    self.ended += 1;
                    return Ok(Step::TopicOver);
                }
                Err(error) => return Err(trouble(error)),
            }
        }
    }

    /// Events received or told, all its topics together.
    pub(super) fn accounted(&self) -> u64 {
        self.books.received + self.books.told_as_gaps
    }

    /// Reads until all topics have ended.
    pub(super) fn read_to_the_end(&mut self) -> Result<(), Trouble> {
        while self.ended < self.topics.len() {
            if self.step()? == Step::Halted {
                break;
            }
        }
        Ok(())
    }

    /// Whatever was published must have been delivered or told, unless it was interrupted.
    pub(super) fn settle(self, published: impl Fn(&str) -> u64) -> Result<Books, Trouble> {
        for (topic, ledger) in &self.topics {
            if self.run.halt.is_called() {
                break;
            }
            let (accounted, published) = (ledger.accounted(), published(topic));
            if accounted < published {
                let missing = published - accounted;
                return Err(Trouble::Broken(format!(
                    "{topic}: the last {missing} of {published} events were neither delivered nor told"
                )));
            }
            if accounted > published {
                return Err(Trouble::Broken(format!(
                    "{topic}: {accounted} events, of which only {published} were published"
                )));
            }
        }
        Ok(self.books)
    }

    fn enter(&mut self, event: &Event) -> Result<(), Trouble> {
        let foreign = |why: &dyn Display| {
            let (topic, seq) = (event.topic(), event.seq());
            Trouble::Broken(format!("{topic}: event {seq} is foreign ({why})"))
        };
        let stamp: Stamp = event.payload().map_err(|error| foreign(&error))?;
        let ledger = self.topics.get_mut(event.topic());
        let ledger = ledger.ok_or_else(|| foreign(&"not subscribed to"))?;
        let entered = ledger.enter(stamp.n);
        entered.map_err(|why| Trouble::Broken(format!("{}: {why}", event.topic())))?;
        if stamp.n != event.seq() {
            return Err(foreign(&format_args!("it is message {}", stamp.n)));
        }
        self.books.received += 1;
        self.run.delivered.fetch_add(1, Ordering::Relaxed);
        if stamp.t != UNTIMED {
            let took = self.run.press.now().saturating_sub(stamp.t);
            self.books.latency.record(took);
        }
        Ok(())
    }

    fn enter_gap(&mut self, gap: &Gap) -> Result<(), Trouble> {
        let (Some((from, to)), Some(ledger)) = (gap.range(), self.topics.get_mut(gap.topic()))
        else {
            return Err(Trouble::Failed(format!("{}: {gap}", gap.topic())));
        };
        let entered = ledger.enter_gap(from, to);
        let events = entered.map_err(|why| Trouble::Broken(format!("{}: {why}", gap.topic())))?;
        self.books.told_as_gaps += events;
        self.run.delivered.fetch_add(events, Ordering::Relaxed);
        Ok(())
    }
}

/// The outcome of a thread of readers.
pub(super) fn joined<T>(thread: ScopedJoinHandle<'_, Result<T, Trouble>>) -> Result<T, Trouble> {
    let panicked = |_| Err(Trouble::Failed("a subscriber panicked".to_owned()));
    thread.join().unwrap_or_else(panicked)
}

/// What one thread of readers came to. Trouble of one ends the work of all.
pub(super) fn heeded<T>(outcome: Result<T, Trouble>, halt: &Halt) -> Result<T, Trouble> {
    if outcome.is_err() {
        halt.call();
    }
    outcome
}

/// The client holds the server to its numbers as well, and tells what does not fit as an error of the protocol.
pub(super) fn trouble(error: Error) -> Trouble {
    match error {
        Error::Protocol { reason } => Trouble::Broken(reason),
        other => Trouble::Failed(other.to_string()),
    }
}
