//! How the cost of an event grows: with nodes, with topics, with subscribers.

use std::time::Instant;

use threadcast::load::Failure;

use super::figures::Figures;
use super::load::{Load, Pace};
use super::many::{ManyTopics, create_topics};
use super::options::Options;
use super::scenes::{Clients, measure, nodes as start_nodes, plan};
use super::servers::Servers;
use super::table::{Side, take_turns};

const SUBSCRIBERS: usize = 30;
/// Events a second to many topics.
const RATE: u32 = 2000;

/// The publisher at the first node, 30 subscribers spread over all of them.
pub(crate) fn nodes(options: &Options) -> Result<(), Failure> {
    let plan = plan(options.pick(40_000, 500), Pace::Window(64));
    let spread: Vec<usize> = (0..SUBSCRIBERS).collect();
    let clients = Clients {
        publishers: &[0],
        subscribers: &spread,
    };
    let side = |count| {
        let (plan, clients) = (&plan, &clients);
        Side::new(in_words(count, "node"), move || {
            measure(start_nodes(count as usize, plan)?, clients, plan)
        })
    };
    let sides: Vec<_> = (1..=3).map(side).collect();
    take_turns("1 → 30, window 64", options.rounds(), &sides)?;
    Ok(())
}

/// One publisher that takes the topics in turn, at a node; one subscriber of all of them, at another.
pub(crate) fn topics(options: &Options) -> Result<(), Failure> {
    let counts: &[u64] = if options.quick {
        &[10, 100]
    } else {
        &[10, 1000, 10_000]
    };
    let side = |&count: &u64| {
        Side::new(in_words(count, "topic"), move || {
            measure_topics(count, options.pick(6_000, 300))
        })
    };
    let sides: Vec<_> = counts.iter().map(side).collect();
    take_turns("1 → 1, 2000/s, topics in turn", options.rounds(), &sides)?;
    Ok(())
}

fn measure_topics(count: u64, messages: u64) -> Result<Figures, Failure> {
    let servers = Servers::nodes(2, &["--max-subscriptions", &count.to_string()])?;
    create_topics(&servers, count)?;
    let protocol = ManyTopics::of(count);
    let mut load = Load::new(Instant::now())?;
    load.subscribe(servers.address(1), protocol, "reader", count as usize, None)?;
    load.add_publisher(servers.address(0), protocol)?;
    let plan = plan(messages, Pace::PerSecond(RATE));
    let figures = servers.measure(messages, || load.run(&plan))?;
    drop(load);
    servers.stop()?;
    Ok(figures)
}

/// All at one node.
pub(crate) fn subscribers(options: &Options) -> Result<(), Failure> {
    let counts: &[usize] = if options.quick {
        &[1, 10]
    } else {
        &[1, 10, 100, 1000]
    };
    let side = |&count: &usize| {
        let deliveries = options.pick(1_500_000, 5_000);
        Side::new(in_words(count as u64, "subscriber"), move || {
            let messages = (deliveries / count as u64).min(150_000);
            let plan = plan(messages, Pace::Window(64));
            let all = vec![0; count];
            let clients = Clients {
                publishers: &[0],
                subscribers: &all,
            };
            measure(start_nodes(1, &plan)?, &clients, &plan)
        })
    };
    let sides: Vec<_> = counts.iter().map(side).collect();
    take_turns("subscribers of a node, window 64", options.rounds(), &sides)?;
    Ok(())
}

fn in_words(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
