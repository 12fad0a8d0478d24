//! The scenes with targets: nodes beside a server without Redis, and beside bare PUB/SUB of Redis.

use threadcast::load::Failure;

use super::figures::Figures;
use super::lines::Redis;
use super::load::protocol::Protocol;
use super::load::threadcast::WebSocket;
use super::load::{Load, Pace, Plan};
use super::options::Options;
use super::servers::Servers;
use super::table::{Side, Target, judge, print_fact, take_turns};

/// The payload of every figure.
const PAYLOAD_BYTES: usize = 128;
/// Events before the clocks run.
const WARM_UP_EVENTS: u64 = 200;
const NODES: usize = 3;

/// Clients, by the number of the server that each is connected to.
pub(crate) struct Clients<'a> {
    pub(crate) publishers: &'a [usize],
    pub(crate) subscribers: &'a [usize],
}

const ONE_TO_ONE: Clients<'_> = Clients {
    publishers: &[0],
    subscribers: &[0],
};
/// The publisher at one node, the subscriber at another.
const ACROSS: Clients<'_> = Clients {
    publishers: &[0],
    subscribers: &[1],
};

/// 1 → 100 on one node.
pub(crate) fn fan_out(options: &Options) -> Result<(), Failure> {
    let plan = plan(options.pick(20_000, 500), Pace::Window(64));
    let clients = Clients {
        publishers: &[0],
        subscribers: &[0; 100],
    };
    let sides = [
        Side::new("without Redis", || {
            measure(embedded(&plan)?, &clients, &plan)
        }),
        Side::new("a node", || measure(nodes(1, &plan)?, &clients, &plan)),
    ];
    let table = take_turns("1 → 100, window 64", options.rounds(), &sides)?;
    let ratio = table.ratio(1, 0, |figures| figures.deliveries_per_second);
    judge(
        "deliveries/s of a node, times those without Redis",
        ratio,
        Target::AtLeast(0.8),
    );
    Ok(())
}

/// 1 → 1 as fast as 256 events in flight allow.
pub(crate) fn pipeline(options: &Options) -> Result<(), Failure> {
    let plan = plan(options.pick(300_000, 5_000), Pace::Window(256));
    let sides = [
        Side::new("without Redis", || {
            measure(embedded(&plan)?, &ONE_TO_ONE, &plan)
        }),
        Side::new("a node", || measure(nodes(1, &plan)?, &ONE_TO_ONE, &plan)),
        Side::new("from a node to another", || {
            measure(nodes(2, &plan)?, &ACROSS, &plan)
        }),
    ];
    let table = take_turns("1 → 1, window 256", options.rounds(), &sides)?;
    let publishes = |figures: &Figures| figures.publishes_per_second;
    judge(
        "publishes/s of a node",
        table.median(1, publishes),
        Target::AtLeast(200_000.0),
    );
    let ratio = table.ratio(1, 0, publishes);
    print_fact(&format!(
        "publishes/s of a node, times those without Redis: {ratio:.2}"
    ));
    Ok(())
}

/// 1 → 1 at a fixed pace.
pub(crate) fn latency(options: &Options) -> Result<(), Failure> {
    let plan = plan(options.pick(6_000, 500), Pace::PerSecond(2000));
    let sides = [
        Side::new("PUB/SUB of Redis", || measure_redis(&ONE_TO_ONE, &plan)),
        Side::new("without Redis", || {
            measure(embedded(&plan)?, &ONE_TO_ONE, &plan)
        }),
        Side::new("a node", || measure(nodes(1, &plan)?, &ONE_TO_ONE, &plan)),
        Side::new("from a node to another", || {
            measure(nodes(2, &plan)?, &ACROSS, &plan)
        }),
    ];
    let table = take_turns("1 → 1, 2000/s", options.rounds(), &sides)?;
    for (side, name) in [(2, "on a node"), (3, "from a node to another")] {
        let p50 = table.ratio(side, 0, |figures| figures.p50_micros);
        judge(
            &format!("p50 {name}, times that of PUB/SUB"),
            p50,
            Target::AtMost(2.5),
        );
        let p99 = table.ratio(side, 0, |figures| figures.p99_micros);
        print_fact(&format!("p99 {name}, times that of PUB/SUB: {p99:.2}"));
    }
    Ok(())
}

/// What an event costs Redis when publishers send as fast as they can.
pub(crate) fn saturated(options: &Options) -> Result<(), Failure> {
    let plan = plan(options.pick(300_000, 5_000), Pace::Window(1536));
    let alone = Clients {
        publishers: &[0, 1, 2, 0, 1, 2],
        subscribers: &[],
    };
    let followed = Clients {
        subscribers: &[0, 1, 2],
        ..alone
    };
    let on_nodes = |clients: &Clients<'_>| measure(nodes(NODES, &plan)?, clients, &plan);
    let sides = [
        Side::new("PUBLISH", || measure_redis(&alone, &plan)),
        Side::new("3 nodes", || on_nodes(&alone)),
        Side::new("PUBLISH, 3 subscribers", || measure_redis(&followed, &plan)),
        Side::new("3 nodes, a subscriber at each", || on_nodes(&followed)),
    ];
    let table = take_turns("6 publishers, window 1536", options.rounds(), &sides)?;
    for (nodes, bare, what) in [(1, 0, "without subscribers"), (3, 2, "with 3 subscribers")] {
        let ratio = table.ratio(nodes, bare, |figures| figures.redis_micros);
        let what = format!("CPU of Redis for an event {what}, times that of PUBLISH");
        judge(&what, ratio, Target::AtMost(2.0));
    }
    Ok(())
}

pub(crate) fn plan(messages: u64, pace: Pace) -> Plan {
    Plan {
        messages,
        payload_bytes: PAYLOAD_BYTES,
        pace,
    }
}

fn embedded(plan: &Plan) -> Result<Servers, Failure> {
    Servers::embedded(&["--max-queue-size", &queue_size(plan)])?.with_topic()
}

/// Nodes with the topic.
pub(crate) fn nodes(count: usize, plan: &Plan) -> Result<Servers, Failure> {
    Servers::nodes(count, &["--max-queue-size", &queue_size(plan)])?.with_topic()
}

/// A window that is larger than the default queue needs a queue of its size, or events would be dropped by design.
fn queue_size(plan: &Plan) -> String {
    match plan.pace {
        Pace::Window(window) => window.max(100).to_string(),
        Pace::PerSecond(_) => "100".to_owned(),
    }
}

/// Puts the load on the servers, and stops them.
pub(crate) fn measure(
    servers: Servers,
    clients: &Clients<'_>,
    plan: &Plan,
) -> Result<Figures, Failure> {
    measure_over(&WebSocket, servers, clients, plan)
}

fn measure_redis(clients: &Clients<'_>, plan: &Plan) -> Result<Figures, Failure> {
    measure_over(&Redis, Servers::redis()?, clients, plan)
}

fn measure_over(
    protocol: &'static dyn Protocol,
    servers: Servers,
    clients: &Clients<'_>,
    plan: &Plan,
) -> Result<Figures, Failure> {
    let mut load = Load::new(std::time::Instant::now())?;
    let publishers = clients.publishers.len();
    for (index, &at) in clients.subscribers.iter().enumerate() {
        let client_id = format!("reader-{index}");
        load.subscribe(servers.address(at), protocol, &client_id, publishers, None)?;
    }
    for &at in clients.publishers {
        load.add_publisher(servers.address(at), protocol)?;
    }
    load.run(&Plan {
        messages: WARM_UP_EVENTS,
        ..*plan
    })?;
    let figures = servers.measure(plan.messages, || load.run(plan))?;
    drop(load);
    servers.stop()?;
    Ok(figures)
}
