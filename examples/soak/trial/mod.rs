//! One trial: a server, publishers and subscribers on threads, and a check of every message that a client gets.
//!
//! In reading order: [`message`] numbers what is published, [`record`] records which message has which seq, [`check`] checks what
//! one client is sent, [`publisher`] and [`subscriber`] are the clients, [`behaviour`] is what a subscriber does besides reading.

mod behaviour;
mod check;
mod keys;
mod message;
mod publisher;
mod received;
mod record;
mod shape;
mod shared;
mod subscriber;
mod withdrawals;

use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use threadcast::client::{Client, TopicOptions};
use threadcast::config::OverflowPolicy;
use threadcast::load::Failure;
use threadcast::{Config, Server};

use behaviour::Behaviour;
use message::topic_name;
use publisher::Publisher;
pub(crate) use shape::Shape;
use shared::{Counts, Random, Shared, policy_of};
use subscriber::Identity;

/// Events that each topic keeps.
const HISTORY_SIZE: usize = 500;
const COUNTS_DEADLINE: Duration = Duration::from_secs(10);

/// How large a trial is.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) duration: Duration,
    pub(crate) publishers: usize,
    /// At least one per overflow policy.
    pub(crate) topics: usize,
    pub(crate) seed: u64,
    pub(crate) shape: Shape,
}

/// The result of a trial.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) published: u64,
    pub(crate) counts: Counts,
    pub(crate) violations: u64,
    /// The first of them.
    pub(crate) texts: Vec<String>,
}

/// Runs a trial. `Err` is a trial that could not be run to its end.
pub(crate) fn run(plan: &Plan) -> Result<Verdict, Failure> {
    let keys = plan.shape.withdraws().then(keys::Keys::new).transpose()?;
    let server = Server::bind(Config {
        keys_file: keys.as_ref().map(|keys| keys.path().to_owned()),
        ..plan.shape.config()
    })?;
    let mut client = Client::builder(&format!("ws://{}/ws", server.local_addr()));
    if let Some(keys) = &keys {
        client = client.key(keys.fixed());
    }
    let client = client.connect()?;
    for topic in 0..plan.topics {
        let options = TopicOptions {
            overflow: Some(policy_of(topic)),
            ..TopicOptions::default()
        };
        client.create_topic_with(&topic_name(topic), &options)?;
    }
    let shared = Shared::new(server.local_addr(), plan, keys);
    let counts = clients(&shared, &server, &client)?;
    check_unacked(&shared, &client)?;
    check_counts(&shared, &client)?;
    check_retained(&shared, &client)?;
    server.shutdown();
    let (violations, texts) = shared.violations();
    Ok(Verdict {
        published: shared.records.iter().map(record::TopicRecord::acks).sum(),
        counts,
        violations,
        texts,
    })
}

/// Runs all clients, and lets the subscribers know when publishing is over.
fn clients(shared: &Shared, server: &Server, client: &Client) -> Result<Counts, Failure> {
    thread::scope(|scope| {
        let subscribers = identities(shared)
            .into_iter()
            .enumerate()
            .map(|(index, (identity, behaviour))| {
                let random = Random(shared.plan.seed.wrapping_add(index as u64));
                scope.spawn(move || behaviour::run(shared, identity, behaviour, random))
            })
            .collect::<Vec<_>>();
        let publishers = (0..shared.plan.publishers)
            .map(|index| {
                scope.spawn(move || Publisher::new(shared, client, index).and_then(Publisher::run))
            })
            .collect::<Vec<_>>();
        let withdrawals = shared
            .keys
            .as_ref()
            .map(|keys| scope.spawn(move || withdrawals::run(shared, keys, server, client)));
        let published = publishers
            .into_iter()
            .map(join)
            .collect::<Result<Vec<_>, _>>();
        let withdrawn = withdrawals.map_or(Ok(()), join);
        let heads = heads(shared, client);
        // Also after a failure: the subscribers must end.
        shared.finish(heads.as_ref().cloned().unwrap_or_default());
        let mut sum = Counts::default();
        for counts in subscribers.into_iter().map(join) {
            sum += counts?;
        }
        for counts in heads.and(published)? {
            sum += counts;
        }
        withdrawn.map(|()| sum)
    })
}

fn join<T>(thread: ScopedJoinHandle<'_, Result<T, Failure>>) -> Result<T, Failure> {
    thread.join().map_err(|_| "a client panicked")?
}

/// For each policy one subscriber of each behaviour, and one of each to everything that needs no rival.
fn identities(shared: &Shared) -> Vec<(Identity, Behaviour)> {
    let mut all = Vec::new();
    for (number, &behaviour) in shared.plan.shape.behaviours().iter().enumerate() {
        for class in 0..OverflowPolicy::ALL.len() {
            let rivals = if behaviour == Behaviour::Replaced {
                2
            } else {
                1
            };
            for rival in 0..rivals {
                let client_id = format!("{behaviour:?}-{number}-{class}");
                let identity = Identity {
                    name: format!("{client_id}-{rival}"),
                    client_id,
                    topics: shared.topics_of_class(class),
                    receive_buffer_bytes: behaviour.receive_buffer_bytes(),
                    has_rival: rivals > 1,
                    misses_nothing: misses_nothing(shared, behaviour),
                };
                all.push((identity, behaviour));
            }
        }
    }
    for (number, behaviour) in [Behaviour::Fast, Behaviour::Churning]
        .into_iter()
        .enumerate()
    {
        let name = format!("everything-{number}");
        let identity = Identity {
            client_id: name.clone(),
            name,
            topics: (0..shared.plan.topics).collect(),
            receive_buffer_bytes: None,
            has_rival: false,
            misses_nothing: misses_nothing(shared, behaviour),
        };
        all.push((identity, behaviour));
    }
    all
}

fn misses_nothing(shared: &Shared, behaviour: Behaviour) -> bool {
    behaviour == Behaviour::Fast && shared.plan.shape.spares_fast_readers()
}

/// The newest seq of each topic, which must agree with the acks.
fn heads(shared: &Shared, client: &Client) -> Result<Vec<u64>, Failure> {
    let head = |(topic, record): (usize, &record::TopicRecord)| {
        let head = client.topic(&topic_name(topic))?.seq;
        if !shared.plan.shape.withdraws() {
            shared.check("publishers", topic, record.check_complete(head));
        }
        Ok(head)
    };
    shared.records.iter().enumerate().map(head).collect()
}

/// What was published without an ack must have been published before its publisher was closed.
fn check_unacked(shared: &Shared, client: &Client) -> Result<(), Failure> {
    if !shared.plan.shape.withdraws() {
        return Ok(());
    }
    let unanswered = shared.unanswered();
    for (topic, record) in shared.records.iter().enumerate() {
        let head = client.topic(&topic_name(topic))?.seq;
        shared.check("publishers", topic, record.check_unacked(head, &unanswered));
    }
    Ok(())
}

/// What all topics retain must be within the budget.
fn check_retained(shared: &Shared, client: &Client) -> Result<(), Failure> {
    let Some(most) = shared.plan.shape.max_retained_bytes() else {
        return Ok(());
    };
    let bytes = |topic| {
        client
            .topic(&topic_name(topic))
            .map(|state| state.history.bytes)
    };
    let retained = (0..shared.plan.topics).map(bytes).sum::<Result<u64, _>>()?;
    if retained > most || retained < most / 2 {
        shared.violation(format!("{retained} bytes are retained of {most}"));
    }
    Ok(())
}

/// With all clients gone, the counts must soon be the topics, and the connection that asks.
fn check_counts(shared: &Shared, client: &Client) -> Result<(), Failure> {
    let expected = [shared.plan.topics as u64, 0, 1];
    let deadline = Instant::now() + COUNTS_DEADLINE;
    loop {
        let health = client.health()?;
        let now = [health.topics, health.subscribers, health.connections];
        if now == expected {
            return Ok(());
        }
        if Instant::now() > deadline {
            shared.violation(format!("counts are {now:?}, and should be {expected:?}"));
            return Ok(());
        }
        thread::park_timeout(Duration::from_millis(5));
    }
}
