//! The scenes: what load is put on the server, and with which settings. Each has a server of its own.

use std::time::Instant;

use threadcast::load::{Failure, ServerProcess};

use super::load::event_stream::EventStream;
use super::load::protocol::Protocol;
use super::load::threadcast::{WebSocket, subscribe_to_patterns};
use super::load::{Load, Outcome, Pace, Plan};
use super::options::{Options, Scene};
use super::{PAYLOAD_BYTES, crowd, joins, print_fact, print_line, print_median, start_server};

/// Descriptors that are not clients.
const SPARE_DESCRIPTORS: u64 = 100;
/// Fills the sockets of those who do not read: far more than the buffers on both sides.
const FILL: Plan = Plan {
    messages: 128,
    payload_bytes: 16 << 10,
    pace: Pace::Window(8),
};
const SMALL_BUFFER_BYTES: usize = 16 << 10;
const KIB: f64 = 1024.0;

/// Runs one scene and prints its figures.
pub(crate) fn run(scene: Scene, options: &Options, descriptors: u64) -> Result<(), Failure> {
    let quick = options.quick;
    let pick = |full: u64, small: u64| if quick { small } else { full };
    match scene {
        Scene::Throughput => fan_out(1, 100, pick(40_000, 1_000), Pace::Window(64)),
        Scene::Publishers => fan_out(4, 100, pick(40_000, 1_000), Pace::Window(64)),
        Scene::Wide if quick => fan_out(1, 200, 25, Pace::PerSecond(50)),
        Scene::Wide => fan_out(1, 1000, 250, Pace::PerSecond(50)),
        Scene::Latency => fan_out(1, 1, pick(10_000, 1_000), Pace::PerSecond(2000)),
        Scene::Pipeline => fan_out(1, 1, pick(300_000, 10_000), Pace::Window(256)),
        Scene::Streams => streams(quick),
        Scene::Patterns => patterns(quick),
        Scene::Presence => joins::run(quick),
        Scene::Held if quick => held(options.held.min(500), descriptors),
        Scene::Held => held(options.held, descriptors),
        Scene::Stalled if quick => stalled(20, 100, 250),
        Scene::Stalled => stalled(100, 1000, 2500),
        Scene::Crowd => crowd::run(quick),
    }
}

fn plan(messages: u64, pace: Pace) -> Plan {
    Plan {
        messages,
        payload_bytes: PAYLOAD_BYTES,
        pace,
    }
}

fn fan_out(
    publishers: usize,
    subscribers: usize,
    messages: u64,
    pace: Pace,
) -> Result<(), Failure> {
    let what = format!("{publishers} → {subscribers}, {pace}");
    let plan = plan(messages, pace);
    fan_out_to(&WebSocket, &what, publishers, subscribers, &plan).map(drop)
}

/// What an event stream costs beside a WebSocket: rounds of both, and the median of the ratios.
fn streams(quick: bool) -> Result<(), Failure> {
    let rounds = if quick { 1 } else { 5 };
    let shapes = match quick {
        true => [
            (100, plan(1_000, Pace::Window(64))),
            (200, plan(25, Pace::PerSecond(50))),
        ],
        false => [
            (100, plan(40_000, Pace::Window(64))),
            (1000, plan(250, Pace::PerSecond(50))),
        ],
    };
    for (subscribers, plan) in shapes {
        let mut ratios = Vec::new();
        for _ in 0..rounds {
            let mut cpu = Vec::new();
            for (name, protocol) in [
                ("ws", &WebSocket as &'static dyn Protocol),
                ("sse", &EventStream),
            ] {
                let what = format!("1 → {subscribers}, {}, {name}", plan.pace);
                cpu.push(fan_out_to(protocol, &what, 1, subscribers, &plan)?);
            }
            ratios.push(cpu[1] / cpu[0]);
        }
        print_median("a delivery, sse / ws", ratios);
    }
    Ok(())
}

/// What patterns cost publishes that they do not match: rounds without and with them, and the median of the ratios.
fn patterns(quick: bool) -> Result<(), Failure> {
    let rounds = if quick { 1 } else { 5 };
    let plan = plan(if quick { 1_000 } else { 40_000 }, Pace::Window(64));
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let mut cpu = Vec::new();
        for count in [0, 1_000] {
            let what = format!("1 → 100, {}, {count} patterns", plan.pace);
            cpu.push(fan_out_beside(count, &WebSocket, &what, 1, 100, &plan)?);
        }
        ratios.push(cpu[1] / cpu[0]);
    }
    print_median("a delivery, with patterns / without", ratios);
    Ok(())
}

/// Like [`fan_out_beside`], without patterns.
fn fan_out_to(
    protocol: &'static dyn Protocol,
    what: &str,
    publishers: usize,
    subscribers: usize,
    plan: &Plan,
) -> Result<f64, Failure> {
    fan_out_beside(0, protocol, what, publishers, subscribers, plan)
}

/// Returns the server's processor time for each delivery, in microseconds. The publishers have WebSockets. Other clients are
/// subscribed to so many patterns that match nothing.
fn fan_out_beside(
    patterns: usize,
    protocol: &'static dyn Protocol,
    what: &str,
    publishers: usize,
    subscribers: usize,
    plan: &Plan,
) -> Result<f64, Failure> {
    let pace = plan.pace;
    // A window that is larger than the default queue needs a queue of its size, or events would be dropped by design.
    let queue_size = match pace {
        Pace::Window(window) => window.max(100),
        Pace::PerSecond(_) => 100,
    };
    let server = start_server(&["--max-queue-size", &queue_size.to_string()])?;
    let _patterns = subscribe_to_patterns(server.address(), patterns)?;
    let mut load = Load::new(Instant::now())?;
    for index in 0..subscribers {
        let client_id = format!("reader-{index}");
        load.subscribe(server.address(), protocol, &client_id, publishers, None)?;
    }
    for _ in 0..publishers {
        load.add_publisher(server.address(), &WebSocket)?;
    }
    let outcome = Outcome::measure(&server, || load.run(plan))?;
    print_line(what, &outcome);
    drop(load);
    server.stop()?;
    Ok(outcome.cpu_micros())
}

/// Thousands of connections that wait, and a few broadcasts to all of them.
fn held(wanted: u32, descriptors: u64) -> Result<(), Failure> {
    let possible = descriptors.saturating_sub(SPARE_DESCRIPTORS);
    let subscribers = u64::from(wanted).min(possible);
    if subscribers < u64::from(wanted) {
        println!("held: only {subscribers} of {wanted}, for want of file descriptors");
    }
    let server = start_server(&[])?;
    let before = resident(&server)?;
    let mut load = Load::open(server.address(), &WebSocket, 1, subscribers as usize)?;
    let open = resident(&server)?;
    let outcome = Outcome::measure(&server, || load.run(&plan(5, Pace::PerSecond(5))))?;
    print_line(&format!("1 → {subscribers} held, 5 broadcasts"), &outcome);
    let each = |bytes: u64| bytes.saturating_sub(before) as f64 / KIB / subscribers as f64;
    print_fact(&format!(
        "resident per connection: {:.1} KiB when open, {:.1} KiB after the broadcasts",
        each(open),
        each(resident(&server)?),
    ));
    drop(load);
    server.stop()
}

/// What subscribers that never read cost those that do.
fn stalled(readers: usize, stalled: usize, messages: u64) -> Result<(), Failure> {
    let plan = plan(messages, Pace::PerSecond(500));
    let alone = beside(readers, 0, &plan)?;
    let crowded = beside(readers, stalled, &plan)?;
    print_fact(&format!(
        "p99 beside the stalled: {:.2} × alone",
        crowded / alone
    ));
    Ok(())
}

/// One measurement; returns the p99 of the readers. Afterwards the stalled read: every event must be there or reported as a gap.
fn beside(readers: usize, stalled: usize, plan: &Plan) -> Result<f64, Failure> {
    let server = start_server(&["--write-timeout-secs", "600"])?;
    let mut load = Load::open(server.address(), &WebSocket, 1, readers)?;
    let mut idle = Load::new(Instant::now())?;
    idle.allow_gaps();
    for index in 0..stalled {
        let client_id = format!("stalled-{index}");
        idle.subscribe(
            server.address(),
            &WebSocket,
            &client_id,
            1,
            Some(SMALL_BUFFER_BYTES),
        )?;
    }
    load.run(&FILL)?;
    let filled = resident(&server)?;
    let outcome = Outcome::measure(&server, || load.run(plan))?;
    let what = format!("1 → {readers} at 500/s, {stalled} never read");
    print_line(&what, &outcome);
    print_fact(&format!(
        "resident: {:.1} MiB before, {:.1} MiB after",
        filled as f64 / KIB / KIB,
        resident(&server)? as f64 / KIB / KIB,
    ));
    if stalled > 0 {
        let all = Plan {
            messages: FILL.messages + plan.messages,
            ..*plan
        };
        let read = idle.run(&all)?;
        print_fact(&format!(
            "the stalled then read the rest: {} received + {} reported as gaps = {}",
            read.deliveries,
            read.reported,
            read.deliveries + read.reported
        ));
    }
    drop((load, idle));
    server.stop()?;
    Ok(outcome.latencies.quantile_micros(0.99))
}

fn resident(server: &ServerProcess) -> Result<u64, Failure> {
    Ok(server
        .resident_bytes()
        .ok_or("this system does not tell the memory of a process")?)
}
