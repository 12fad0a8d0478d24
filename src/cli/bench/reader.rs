//! A subscriber that checks every event by the number in its payload, and not only by the server's.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use threadcast::client::{Client, Delivery, Error, Event, Gap, Start, Subscription};
use threadcast::load::{Latencies, SequenceChecker, Stamp};

use super::cancel::Cancel;

/// The time of sending of a message that is not measured.
pub(super) const UNTIMED: u64 = 0;
/// Without a delivery for so long nobody waits for the rest: what is missing shows when the topics end.
const STALL_DEADLINE: Duration = Duration::from_secs(3);
/// How often a reader that gets nothing asks whether it is cancelled.
const TICK: Duration = Duration::from_millis(100);
/// A reader that gets nothing for so long fails: events or the end of its topics are due.
const SILENCE_DEADLINE: Duration = Duration::from_secs(30);

/// Why a scene cannot go on.
#[derive(Debug, Clone)]
pub(super) enum Problem {
    /// The server has broken its promise.
    Broken(String),
    /// Anything else.
    Failed(String),
}

/// The client checks the server's numbers as well; what is wrong with them is an error of the protocol.
impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        match error {
            Error::Protocol { reason } => Problem::Broken(reason),
            other => Problem::Failed(other.to_string()),
        }
    }
}

/// What publisher and subscribers of a scene share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) cancel: Cancel,
    clock: Instant,
    /// Events received or reported as gaps, all subscribers together.
    delivered: Arc<AtomicU64>,
}

impl Shared {
    pub(super) fn new(cancel: &Cancel) -> Shared {
        Shared {
            cancel: cancel.clone(),
            clock: Instant::now(),
            delivered: Arc::default(),
        }
    }

    /// Nanoseconds since the scene began.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Waits for this number of deliveries, or until no more arrive.
    pub(super) fn wait_for(&self, deliveries: u64) {
        let mut last = (self.delivered.load(Ordering::Relaxed), Instant::now());
        while last.0 < deliveries
            && last.1.elapsed() < STALL_DEADLINE
            && !self.cancel.is_cancelled()
        {
            thread::sleep(Duration::from_micros(200));
            let now = self.delivered.load(Ordering::Relaxed);
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
    }
}

/// What came next to a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Delivery,
    /// A topic has ended in order; the others go on.
    TopicEnd,
    Cancelled,
}

/// What readers have received.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub(super) received: u64,
    pub(super) reported_as_gaps: u64,
    pub(super) latencies: Latencies,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Counts) {
        self.received += other.received;
        self.reported_as_gaps += other.reported_as_gaps;
        self.latencies += &other.latencies;
    }
}

/// One subscriber.
pub(super) struct Reader {
    subscription: Subscription,
    shared: Shared,
    topics: HashMap<String, SequenceChecker>,
    ended: usize,
}

impl Reader {
    pub(super) fn open(
        client: &Client,
        topics: &[&str],
        shared: &Shared,
    ) -> Result<Reader, Problem> {
        let mut subscriber = client.subscriber();
        for topic in topics {
            subscriber = subscriber.topic(topic, Start::Now);
        }
        let checkers = topics
            .iter()
            .map(|topic| ((*topic).to_owned(), SequenceChecker::default()));
        Ok(Reader {
            subscription: subscriber.open()?,
            shared: shared.clone(),
            topics: checkers.collect(),
            ended: 0,
        })
    }

    /// Waits for what comes next.
    fn step(&mut self, counts: &mut Counts) -> Result<Step, Problem> {
        let since = Instant::now();
        loop {
            if self.shared.cancel.is_cancelled() {
                return Ok(Step::Cancelled);
            }
            match self.subscription.recv_timeout(TICK) {
                Ok(Some(Delivery::Event(event))) => {
                    self.check_event(&event, counts)?;
                    return Ok(Step::Delivery);
                }
                Ok(Some(Delivery::Gap(gap))) => {
                    self.check_gap(&gap, counts)?;
                    return Ok(Step::Delivery);
                }
                Ok(Some(_)) => {}
                Ok(None) if since.elapsed() > SILENCE_DEADLINE => {
                    return Err(Problem::Broken(format!(
                        "nothing came for {SILENCE_DEADLINE:?}, neither events nor the end of the topic"
                    )));
                }
                Ok(None) => {}
                Err(Error::Ended { .. }) => {
                    self.ended += 1;
                    return Ok(Step::TopicEnd);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn check_event(&mut self, event: &Event, counts: &mut Counts) -> Result<(), Problem> {
        let (topic, seq) = (event.topic(), event.seq());
        let foreign =
            |why: &dyn Display| Problem::Broken(format!("{topic}: event {seq} is foreign ({why})"));
        let text: &str = event.payload().map_err(|error| foreign(&error))?;
        let stamp = Stamp::read(text.as_bytes()).ok_or_else(|| foreign(&"it has no number"))?;
        let checker = self.topics.get_mut(topic);
        let checker = checker.ok_or_else(|| foreign(&"not subscribed to"))?;
        let checked = checker.event(stamp.number);
        checked.map_err(|error| Problem::Broken(format!("{topic}: {error}")))?;
        if stamp.number != seq {
            return Err(foreign(&format_args!("it is message {}", stamp.number)));
        }
        counts.received += 1;
        self.shared.delivered.fetch_add(1, Ordering::Relaxed);
        if stamp.sent_nanos != UNTIMED {
            let took = self.shared.now().saturating_sub(stamp.sent_nanos);
            counts.latencies.record(took);
        }
        Ok(())
    }

    fn check_gap(&mut self, gap: &Gap, counts: &mut Counts) -> Result<(), Problem> {
        let topic = gap.topic();
        let (Some((from, to)), Some(count)) = (gap.range(), gap.count()) else {
            return Err(Problem::Failed(format!("{topic}: {gap}")));
        };
        let Some(checker) = self.topics.get_mut(topic) else {
            return Err(Problem::Failed(format!("{topic}: {gap}")));
        };
        let checked = checker.gap(from, to, count);
        checked.map_err(|error| Problem::Broken(format!("{topic}: {error}")))?;
        counts.reported_as_gaps += count;
        self.shared.delivered.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    /// Every event that was published must have been delivered or reported as a gap.
    pub(super) fn check_complete(&self, published: &HashMap<&str, u64>) -> Result<(), Problem> {
        for (topic, checker) in &self.topics {
            let published = published.get(topic.as_str()).copied();
            let checked = checker.check_complete(published.unwrap_or_default());
            checked.map_err(|error| Problem::Broken(format!("{topic}: {error}")))?;
        }
        Ok(())
    }

    fn position(&self) -> u64 {
        self.topics.values().map(SequenceChecker::position).sum()
    }
}

/// Reads from several readers in one thread: up to `messages`, each message from all of them before the next, then each to the
/// end of its topics.
pub(super) fn read_all(readers: &mut [Reader], messages: u64) -> Result<Counts, Problem> {
    let mut counts = Counts::default();
    for number in 1..=messages {
        for reader in readers.iter_mut() {
            while reader.position() < number {
                if reader.step(&mut counts)? != Step::Delivery {
                    return Ok(counts);
                }
            }
        }
    }
    for reader in readers {
        while reader.ended < reader.topics.len() {
            if reader.step(&mut counts)? == Step::Cancelled {
                return Ok(counts);
            }
        }
    }
    Ok(counts)
}
