//! The scene of the stalled subscribers: what do those who never read cost those who do?
//! Afterwards the stalled ones read all there is, and every event must be there or told as a gap.

use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent};

use super::Failure;
use super::load::{Load, Subscriber, wait, watch};
use super::plan::{Pace, Plan};
use super::report::{self, Measured};
use super::server::ServerProcess;
use super::set_up::{PAYLOAD_BYTES, open_load, subscribe};
use super::verify::Entry;

/// Fills the sockets of those who do not read: far more than the buffers on both sides.
const FILL: Plan = Plan {
    messages: 128,
    payload_bytes: 16 << 10,
    pace: Pace::Window(8),
};
const RECEIVE_BUFFER_BYTES: usize = 16 << 10;
const CATCH_UP_DEADLINE: Duration = Duration::from_secs(60);
const MIB: f64 = 1024.0 * 1024.0;

/// Measures the readers alone, then beside the stalled.
pub(crate) fn run(quick: bool) -> Result<(), Failure> {
    let (readers, stalled, messages) = if quick {
        (20, 100, 250)
    } else {
        (100, 1000, 2500)
    };
    let plan = Plan {
        messages,
        payload_bytes: PAYLOAD_BYTES,
        pace: Pace::PerSecond(500),
    };
    let alone = beside(readers, 0, &plan)?;
    let crowded = beside(readers, stalled, &plan)?;
    report::print_fact(&format!(
        "p99 beside the stalled: {:.2} × alone",
        crowded / alone
    ));
    Ok(())
}

/// One measurement; returns the p99 of the readers.
fn beside(readers: usize, stalled: usize, plan: &Plan) -> Result<f64, Failure> {
    let server = ServerProcess::start(&[("PUBSUB_WRITE_TIMEOUT_SECS", "600".to_owned())])?;
    let mut load = open_load(&server, 1, readers)?;
    let mut idle = (0..stalled)
        .map(|index| {
            subscribe(
                &server,
                &format!("stalled-{index}"),
                1,
                Some(RECEIVE_BUFFER_BYTES),
            )
        })
        .collect::<Result<Vec<_>, _>>()?;
    load.run(&FILL)?;
    let filled = server.resident_bytes()?;
    let measured = Measured::take(&server, || load.run(plan))?;
    report::print_line(
        &format!("1 → {readers} at 500/s, {stalled} never read"),
        &measured,
    );
    report::print_fact(&format!(
        "resident: {:.1} MiB before, {:.1} MiB after",
        filled as f64 / MIB,
        server.resident_bytes()? as f64 / MIB,
    ));
    if stalled > 0 {
        let told = catch_up(&mut idle, &load)?;
        report::print_fact(&format!("the stalled then read the rest: {told}"));
    }
    drop((load, idle));
    server.stop()?;
    Ok(measured.p99_micros())
}

/// Reads until every stalled subscriber has accounted for every message.
fn catch_up(stalled: &mut [Subscriber], load: &Load) -> Result<String, Failure> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (index, subscriber) in stalled.iter().enumerate() {
        watch(&epoll, &subscriber.client, index as u64)?;
    }
    let (mut received, mut told_as_gaps) = (0, 0);
    let total = load.published() * stalled.len() as u64;
    let mut scratch = vec![0; 256 << 10];
    let mut events = vec![EpollEvent::empty(); 1024];
    let deadline = Instant::now() + CATCH_UP_DEADLINE;
    while received + told_as_gaps < total {
        if Instant::now() > deadline {
            let missing = total - received - told_as_gaps;
            return Err(format!("{missing} events are neither delivered nor told").into());
        }
        let ready = wait(&epoll, &mut events)?;
        for event in &events[..ready] {
            let Subscriber { client, reading } = &mut stalled[event.data() as usize];
            client.read_frames(&mut scratch, &mut |frame| {
                match reading.enter(frame)? {
                    Entry::Event { .. } => received += 1,
                    Entry::Gap { events } => told_as_gaps += events,
                }
                Ok(())
            })?;
        }
    }
    Ok(format!(
        "{received} received + {told_as_gaps} told as gaps = {total}"
    ))
}
