//! What the kinds of subscribers do besides reading.

use std::thread;

use threadcast::load::Failure;

use super::HISTORY_SIZE;
use super::check::Start;
use super::shared::{Counts, Random, Shared};
use super::subscriber::{Identity, Subscriber};

/// So small that the server soon notices a subscriber that pauses.
const SMALL_BUFFER_BYTES: usize = 8 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Reads all the time.
    Fast,
    /// Pauses after so many events.
    Slow,
    /// Cuts its connection and resumes.
    Cut,
    /// Does not read for a while, then reads everything.
    Stuck,
    /// Takes over the subscription of its rival, which does the same.
    Replaced,
    /// Subscribes, subscribes anew and unsubscribes, with and without replay.
    Churning,
}

impl Behaviour {
    pub(crate) const ALL: [Behaviour; 6] = [
        Behaviour::Fast,
        Behaviour::Slow,
        Behaviour::Cut,
        Behaviour::Stuck,
        Behaviour::Replaced,
        Behaviour::Churning,
    ];

    pub(crate) fn receive_buffer_bytes(self) -> Option<usize> {
        matches!(self, Behaviour::Slow | Behaviour::Stuck).then_some(SMALL_BUFFER_BYTES)
    }

    /// How many messages it reads before it acts.
    fn budget(self, random: &mut Random) -> u64 {
        match self {
            Behaviour::Fast => u64::MAX,
            Behaviour::Slow => random.within(100..1500),
            Behaviour::Cut => random.within(1..4000),
            Behaviour::Stuck => random.within(500..20_000),
            Behaviour::Replaced => random.within(1..2000),
            Behaviour::Churning => random.within(1..500),
        }
    }

    fn act(self, subscriber: &mut Subscriber<'_>, random: &mut Random) -> Result<(), Failure> {
        match self {
            Behaviour::Fast => {}
            Behaviour::Slow => thread::sleep(random.millis(1..40)),
            Behaviour::Cut => subscriber.cut_and_resume()?,
            Behaviour::Stuck => {
                let longest = subscriber.shared.plan.duration.as_millis() as u64 / 8;
                thread::sleep(random.millis(20..longest.clamp(21, 2000)));
            }
            Behaviour::Replaced => take_back(subscriber),
            Behaviour::Churning => churn(subscriber, random),
        }
        Ok(())
    }
}

/// Reads and acts until publishing is over, then reads to the end.
pub(crate) fn run(
    shared: &Shared,
    identity: Identity,
    behaviour: Behaviour,
    mut random: Random,
) -> Result<Counts, Failure> {
    let mut subscriber = Subscriber::start(shared, identity)?;
    let mut budget = behaviour.budget(&mut random);
    while !shared.is_over() {
        let came = subscriber.read()?;
        // A subscriber that was replaced gets no events: the next message may never come.
        budget = budget.saturating_sub(1);
        if budget == 0 || !came && behaviour == Behaviour::Replaced {
            behaviour.act(&mut subscriber, &mut random)?;
            budget = behaviour.budget(&mut random);
        }
    }
    subscriber.drain()?;
    Ok(subscriber.counts)
}

/// Resumes one of the subscriptions that the rival has.
fn take_back(subscriber: &mut Subscriber<'_>) {
    let lost = (0..subscriber.checks.len()).find(|&topic| {
        let check = subscriber.checks[topic].as_ref();
        check.is_some_and(|check| !check.live && check.asked.is_none())
    });
    if let Some(topic) = lost {
        subscriber.resume(topic);
    }
}

fn churn(subscriber: &mut Subscriber<'_>, random: &mut Random) {
    let topics = &subscriber.identity.topics;
    let topic = topics[random.within(0..topics.len() as u64) as usize];
    let Some(check) = &mut subscriber.checks[topic] else {
        return;
    };
    if check.asked.is_some() || check.leaving {
        return;
    }
    subscriber.counts.churns += 1;
    let start = match random.within(0..4) {
        0 if check.live => {
            check.wanted = false;
            return subscriber.unsubscribe(topic);
        }
        0 | 1 => Start::Live,
        2 if subscriber.shared.plan.shape.keeps_whole_history() => {
            Start::LastN(random.within(0..2 * HISTORY_SIZE as u64))
        }
        _ => return subscriber.resume(topic),
    };
    subscriber.subscribe(topic, start);
}
