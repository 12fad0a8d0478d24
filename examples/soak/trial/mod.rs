//! One trial: a server of its own, publishers and subscribers on plain threads, and a verdict on all they were told.
//!
//! In reading order: [`message`] numbers what is published, [`truth`] holds what stands at which seq, [`account`] is
//! what one client may be told next, [`publisher`] and [`subscriber`] are the clients, [`habit`] makes them behave.

mod account;
mod habit;
mod hearing;
mod keys;
mod message;
mod publisher;
mod random;
mod shape;
mod subscriber;
mod tally;
mod truth;
mod warden;
mod wire;
mod world;

use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use threadcast::client::{Client, TopicOptions};
use threadcast::config::OverflowPolicy;
use threadcast::{Config, Server};

use habit::Habit;
use message::topic_name;
use publisher::Publisher;
use random::Random;
pub(crate) use shape::Shape;
use subscriber::Identity;
use tally::Tally;
use world::{World, policy_of};

/// What a trial ends with when it cannot go on; the text is for its user.
pub(crate) type Failure = Box<dyn std::error::Error>;

const COUNTS_DEADLINE: Duration = Duration::from_secs(10);

/// How large a trial is.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) duration: Duration,
    pub(crate) publishers: usize,
    /// At least one per overflow policy.
    pub(crate) topics: usize,
    pub(crate) seed: u64,
    pub(crate) history_size: usize,
    pub(crate) max_queue_size: usize,
    pub(crate) shape: Shape,
}

/// What a trial came to.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) published: u64,
    pub(crate) tally: Tally,
    pub(crate) violations: u64,
    /// The first of them.
    pub(crate) texts: Vec<String>,
}

/// Runs a trial. `Err` is a trial that could not be run to its end.
pub(crate) fn run(plan: &Plan) -> Result<Verdict, Failure> {
    let keys = plan.shape.withdraws().then(keys::Keys::new).transpose()?;
    let server = Server::bind(Config {
        keys_file: keys.as_ref().map(|keys| keys.path().to_owned()),
        ..plan.shape.config(plan)
    })?;
    let mut client = Client::builder(&format!("ws://{}/ws", server.local_addr()));
    if let Some(keys) = &keys {
        client = client.key(keys.house());
    }
    let client = client.connect()?;
    for topic in 0..plan.topics {
        let options = TopicOptions {
            overflow: Some(policy_of(topic)),
            ..TopicOptions::default()
        };
        client.create_topic_with(&topic_name(topic), &options)?;
    }
    let world = World::new(server.local_addr(), plan, keys);
    let tally = clients(&world, &server, &client)?;
    check_unacked(&world, &client)?;
    check_counts(&world, &client)?;
    check_retained(&world, &client)?;
    server.shutdown();
    let (violations, texts) = world.violations();
    Ok(Verdict {
        published: world.truths.iter().map(truth::Truth::acks).sum(),
        tally,
        violations,
        texts,
    })
}

/// Lets all clients live, and tells the subscribers when all is published.
fn clients(world: &World, server: &Server, client: &Client) -> Result<Tally, Failure> {
    thread::scope(|scope| {
        let subscribers = identities(world)
            .into_iter()
            .enumerate()
            .map(|(index, (identity, habit))| {
                let random = Random(world.plan.seed.wrapping_add(index as u64));
                scope.spawn(move || tell(habit::live(world, identity, habit, random)))
            })
            .collect::<Vec<_>>();
        let publishers = (0..world.plan.publishers)
            .map(|index| {
                scope.spawn(move || {
                    tell(Publisher::new(world, client, index).and_then(Publisher::run))
                })
            })
            .collect::<Vec<_>>();
        let warden = world
            .keys
            .as_ref()
            .map(|keys| scope.spawn(move || tell(warden::run(world, keys, server, client))));
        let published = publishers
            .into_iter()
            .map(join)
            .collect::<Result<Vec<_>, _>>();
        let watched = warden.map_or(Ok(()), join);
        let heads = heads(world, client);
        // Also after a failure: they must end.
        world.finish(heads.as_ref().cloned().unwrap_or_default());
        let mut sum = Tally::default();
        for tally in subscribers.into_iter().map(join) {
            sum += tally?;
        }
        for tally in heads.and(published)? {
            sum += tally;
        }
        watched.map(|()| sum)
    })
}

/// A failure as text, because it goes from thread to thread.
fn tell<T>(result: Result<T, Failure>) -> Result<T, String> {
    result.map_err(|failure| failure.to_string())
}

fn join<T>(thread: ScopedJoinHandle<'_, Result<T, String>>) -> Result<T, Failure> {
    Ok(thread.join().map_err(|_| "a client panicked")??)
}

/// For each policy one subscriber of each habit, and one of each to everything that needs no rival.
fn identities(world: &World) -> Vec<(Identity, Habit)> {
    let mut all = Vec::new();
    for (number, &habit) in world.plan.shape.habits().iter().enumerate() {
        for class in 0..OverflowPolicy::ALL.len() {
            let rivals = if habit == Habit::Replaced { 2 } else { 1 };
            for rival in 0..rivals {
                let client_id = format!("{habit:?}-{number}-{class}");
                let identity = Identity {
                    name: format!("{client_id}-{rival}"),
                    client_id,
                    topics: world.topics_of_class(class),
                    receive_buffer_bytes: habit.receive_buffer_bytes(),
                    has_rival: rivals > 1,
                    misses_nothing: misses_nothing(world, habit),
                };
                all.push((identity, habit));
            }
        }
    }
    for (number, habit) in [Habit::Fast, Habit::Churning].into_iter().enumerate() {
        let name = format!("everything-{number}");
        let identity = Identity {
            client_id: name.clone(),
            name,
            topics: (0..world.plan.topics).collect(),
            receive_buffer_bytes: None,
            has_rival: false,
            misses_nothing: misses_nothing(world, habit),
        };
        all.push((identity, habit));
    }
    all
}

fn misses_nothing(world: &World, habit: Habit) -> bool {
    habit == Habit::Fast && world.plan.shape.spares_fast_readers()
}

/// The newest seq of each topic, which must be what its publishers were told.
fn heads(world: &World, client: &Client) -> Result<Vec<u64>, Failure> {
    let head = |(topic, truth): (usize, &truth::Truth)| {
        let head = client.topic(&topic_name(topic))?.seq;
        if !world.plan.shape.withdraws() {
            world.check("publishers", topic, truth.check_complete(head));
        }
        Ok(head)
    };
    world.truths.iter().enumerate().map(head).collect()
}

/// What was published without an ack must have been published before its publisher was closed.
fn check_unacked(world: &World, client: &Client) -> Result<(), Failure> {
    if !world.plan.shape.withdraws() {
        return Ok(());
    }
    let unanswered = world.unanswered();
    for (topic, truth) in world.truths.iter().enumerate() {
        let head = client.topic(&topic_name(topic))?.seq;
        world.check("publishers", topic, truth.check_unacked(head, &unanswered));
    }
    Ok(())
}

/// What all topics retain must be within the budget.
fn check_retained(world: &World, client: &Client) -> Result<(), Failure> {
    let Some(most) = world.plan.shape.max_retained_bytes() else {
        return Ok(());
    };
    let bytes = |topic| {
        client
            .topic(&topic_name(topic))
            .map(|state| state.history.bytes)
    };
    let retained = (0..world.plan.topics).map(bytes).sum::<Result<u64, _>>()?;
    if retained > most || retained < most / 2 {
        world.violation(format!("{retained} bytes are retained of {most}"));
    }
    Ok(())
}

/// With all clients gone, the counts must soon be the topics, and the connection that asks.
fn check_counts(world: &World, client: &Client) -> Result<(), Failure> {
    let expected = [world.plan.topics as u64, 0, 1];
    let deadline = Instant::now() + COUNTS_DEADLINE;
    loop {
        let health = client.health()?;
        let now = [health.topics, health.subscribers, health.connections];
        if now == expected {
            return Ok(());
        }
        if Instant::now() > deadline {
            world.violation(format!("counts are {now:?}, and should be {expected:?}"));
            return Ok(());
        }
        thread::park_timeout(Duration::from_millis(5));
    }
}
