//! What a cluster costs in which nothing happens.

use std::thread;
use std::time::{Duration, Instant};

use threadcast::load::{Connection, Failure, Incoming};

use super::figures::median;
use super::load::threadcast::{publish_to, read_ack, subscribe_request};
use super::many::{create_topics, topic_name};
use super::options::Options;
use super::servers::{Cpu, Servers};
use super::table::{Target, judge, print_fact};

const NODES: usize = 3;

/// 3 nodes, as many subscribers as topics, spread over the nodes. Afterwards each subscriber must get an event.
pub(crate) fn idle(options: &Options) -> Result<(), Failure> {
    let topics = options.pick(1000, 60);
    let seconds = options.pick(10, 2);
    let servers = Servers::nodes(NODES, &[])?;
    create_topics(&servers, topics)?;
    let numbers = 0..topics;
    let subscribers = numbers.map(|number| open_subscriber(&servers, number));
    let mut subscribers = subscribers.collect::<Result<Vec<_>, _>>()?;
    // What the subscribes left to be done is done in the first seconds.
    thread::sleep(Duration::from_secs(seconds.min(4)));
    let mut percents = vec![Vec::new(); NODES + 1];
    for _ in 0..options.rounds() {
        let of_round = watch(&servers, Duration::from_secs(seconds))?;
        let all = percents.iter_mut().zip(of_round);
        all.for_each(|(percents, percent)| percents.push(percent));
    }
    check_subscribers(&servers, &mut subscribers)?;
    drop(subscribers);
    servers.stop()?;
    println!();
    println!("{NODES} nodes, {topics} topics and subscribers, idle");
    let medians: Vec<f64> = percents.into_iter().map(median).collect();
    for (at, percent) in medians[..NODES].iter().enumerate() {
        judge(
            &format!("node {}, percent of a core", at + 1),
            *percent,
            Target::AtMost(2.0),
        );
    }
    print_fact(&format!("Redis, percent of a core: {:.2}", medians[NODES]));
    Ok(())
}

/// The processor time of each node, then of Redis, in percent of a core.
fn watch(servers: &Servers, time: Duration) -> Result<Vec<f64>, Failure> {
    let (before, started) = (servers.cpu()?, Instant::now());
    thread::sleep(time);
    let (Cpu { threadcasts, redis }, wall) = (servers.cpu()?.since(&before), started.elapsed());
    let all = threadcasts.into_iter().chain([redis]);
    Ok(all
        .map(|cpu| 100.0 * cpu.as_secs_f64() / wall.as_secs_f64())
        .collect())
}

fn open_subscriber(servers: &Servers, number: u64) -> Result<Connection, Failure> {
    let mut connection = Connection::open(servers.address(number as usize), None)?;
    connection.upgrade("/ws", None)?;
    let request = subscribe_request(&topic_name(number), "reader");
    connection.add_text(request.as_bytes());
    connection.send()?;
    read_ack(&mut connection)?;
    Ok(connection)
}

/// Publishes one event to each topic at the first node. Each subscriber must get its own.
fn check_subscribers(servers: &Servers, subscribers: &mut [Connection]) -> Result<(), Failure> {
    let mut publisher = Connection::open(servers.address(0), None)?;
    publisher.upgrade("/ws", None)?;
    for (number, subscriber) in (0..).zip(subscribers) {
        let topic = topic_name(number);
        publish_to(&topic, number + 1, "one", publisher.output());
        publisher.send()?;
        read_ack(&mut publisher)?;
        let event = format!(r#"{{"type":"event","topic":"{topic}""#);
        match subscriber.read_text() {
            Incoming::Text(text) if text.starts_with(event.as_bytes()) => {}
            other => return Err(format!("no event of {topic}: {other:?}").into()),
        }
    }
    Ok(())
}
