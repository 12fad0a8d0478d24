//! The state of one run of the load: what is still to be sent, what has arrived, and how fast.

use std::time::{Duration, Instant};

use super::Failure;
use super::histogram::Histogram;
use super::plan::{Pace, Plan};
use super::template::Template;
use super::verify::Entry;

/// Without any delivery or ack for so long, a run has failed.
pub(crate) const STALL_DEADLINE: Duration = Duration::from_secs(15);

/// What a run measured on the side of the clients.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) deliveries: u64,
    pub(crate) wall: Duration,
    pub(crate) latency: Histogram,
}

impl Outcome {
    pub(crate) fn new() -> Outcome {
        Outcome {
            deliveries: 0,
            wall: Duration::ZERO,
            latency: Histogram::new(),
        }
    }

    /// Adds what others measured at the same time.
    pub(crate) fn add_parallel(&mut self, other: &Outcome) {
        self.deliveries += other.deliveries;
        self.wall = self.wall.max(other.wall);
        self.latency += &other.latency;
    }

    /// Adds what was measured afterwards.
    pub(crate) fn add_later(&mut self, other: &Outcome) {
        self.deliveries += other.deliveries;
        self.wall += other.wall;
        self.latency += &other.latency;
    }
}

/// A run under way.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) pace: Pace,
    pub(crate) template: Template,
    pub(crate) started: Instant,
    /// Number of the first message of this run.
    pub(crate) first: u64,
    /// Number of its last message.
    pub(crate) last: u64,
    /// The newest message known to have reached everyone.
    pub(crate) slowest: u64,
    expected: u64,
    outcome: Outcome,
    seen: u64,
    progress: Instant,
}

impl Run {
    /// Starts the clock; `published` messages went before.
    pub(crate) fn new(plan: &Plan, topic: &str, published: u64, subscribers: usize) -> Run {
        let started = Instant::now();
        Run {
            pace: plan.pace,
            template: Template::new(topic, plan.payload_bytes),
            started,
            first: published + 1,
            last: published + plan.messages,
            slowest: published,
            expected: plan.messages * subscribers as u64,
            outcome: Outcome::new(),
            seen: 0,
            progress: started,
        }
    }

    /// Whether everything was acked and delivered.
    pub(crate) fn is_complete(&self, acked: u64) -> bool {
        self.outcome.deliveries >= self.expected && acked >= self.last
    }

    /// Stops the clock.
    pub(crate) fn end(mut self) -> Outcome {
        self.outcome.wall = self.started.elapsed();
        self.outcome
    }

    /// Takes one delivery; these subscribers keep up, so a gap is a loss.
    pub(crate) fn enter(&mut self, entry: Entry, now: u64) -> Result<(), Failure> {
        match entry {
            Entry::Event { sent_nanos } => {
                self.outcome.deliveries += 1;
                self.outcome.latency.record(now.saturating_sub(sent_nanos));
                Ok(())
            }
            Entry::Gap { events } => {
                Err(format!("{events} events were dropped for a subscriber that reads").into())
            }
        }
    }

    /// Fails when nothing has moved for too long.
    pub(crate) fn check_progress(&mut self, acked: u64) -> Result<(), Failure> {
        let seen = self.outcome.deliveries + acked;
        if seen != self.seen {
            self.seen = seen;
            self.progress = Instant::now();
        } else if self.progress.elapsed() > STALL_DEADLINE {
            let missing = self.expected - self.outcome.deliveries;
            return Err(format!("{missing} of {} deliveries never came", self.expected).into());
        }
        Ok(())
    }
}
