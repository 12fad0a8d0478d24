//! What the kinds of subscribers do besides reading.

use std::thread;

use super::Failure;
use super::account::Start;
use super::random::Random;
use super::subscriber::{Identity, Subscriber};
use super::tally::Tally;
use super::world::World;

/// Reads with pauses and a buffer this small are soon felt by the server.
const SMALL_BUFFER_BYTES: usize = 8 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Reads all the time.
    Fast,
    /// Pauses after so many events.
    Slow,
    /// Cuts its connection and resumes.
    Cut,
    /// Does not read for a while, then reads everything.
    Stuck,
    /// Takes its rival's subscription over, which takes it back.
    Replaced,
    /// Subscribes, subscribes anew and unsubscribes, with and without replay.
    Churning,
}

impl Habit {
    pub(crate) const ALL: [Habit; 6] = [
        Habit::Fast,
        Habit::Slow,
        Habit::Cut,
        Habit::Stuck,
        Habit::Replaced,
        Habit::Churning,
    ];

    pub(crate) fn receive_buffer_bytes(self) -> Option<usize> {
        matches!(self, Habit::Slow | Habit::Stuck).then_some(SMALL_BUFFER_BYTES)
    }

    /// How many messages it reads before it does what it does.
    fn budget(self, random: &mut Random) -> u64 {
        match self {
            Habit::Fast => u64::MAX,
            Habit::Slow => random.within(100..1500),
            Habit::Cut => random.within(1..4000),
            Habit::Stuck => random.within(500..20_000),
            Habit::Replaced => random.within(1..2000),
            Habit::Churning => random.within(1..500),
        }
    }

    fn act(self, subscriber: &mut Subscriber<'_>, random: &mut Random) -> Result<(), Failure> {
        match self {
            Habit::Fast => {}
            Habit::Slow => thread::sleep(random.millis(1..40)),
            Habit::Cut => subscriber.cut_and_resume()?,
            Habit::Stuck => {
                let longest = subscriber.world.plan.duration.as_millis() as u64 / 8;
                thread::sleep(random.millis(20..longest.clamp(21, 2000)));
            }
            Habit::Replaced => take_back(subscriber),
            Habit::Churning => churn(subscriber, random),
        }
        Ok(())
    }
}

/// A whole life: reads until all is published, then to the end.
pub(crate) fn live(
    world: &World,
    identity: Identity,
    habit: Habit,
    mut random: Random,
) -> Result<Tally, Failure> {
    let mut subscriber = Subscriber::start(world, identity)?;
    let mut budget = habit.budget(&mut random);
    while !world.is_over() {
        let came = subscriber.read()?;
        // The replaced one gets no events; the next message may never come.
        budget = budget.saturating_sub(1);
        if budget == 0 || !came && habit == Habit::Replaced {
            habit.act(&mut subscriber, &mut random)?;
            budget = habit.budget(&mut random);
        }
    }
    subscriber.drain()?;
    Ok(subscriber.tally)
}

/// Resumes one of the subscriptions that the rival has.
fn take_back(subscriber: &mut Subscriber<'_>) {
    let lost = (0..subscriber.accounts.len()).find(|&topic| {
        let account = subscriber.accounts[topic].as_ref();
        account.is_some_and(|account| !account.live && account.asked.is_none())
    });
    if let Some(topic) = lost {
        subscriber.resume(topic);
    }
}

fn churn(subscriber: &mut Subscriber<'_>, random: &mut Random) {
    let topics = &subscriber.identity.topics;
    let topic = topics[random.within(0..topics.len() as u64) as usize];
    let Some(account) = &mut subscriber.accounts[topic] else {
        return;
    };
    if account.asked.is_some() || account.leaving {
        return;
    }
    subscriber.tally.churns += 1;
    let start = match random.within(0..4) {
        0 if account.live => {
            account.wanted = false;
            return subscriber.unsubscribe(topic);
        }
        0 | 1 => Start::Live,
        2 if subscriber.world.plan.shape.keeps_whole_history() => {
            Start::LastN(random.within(0..2 * subscriber.world.plan.history_size as u64))
        }
        _ => return subscriber.resume(topic),
    };
    subscriber.subscribe(topic, start);
}
