//! The scenes: what is put on the server, and with which settings. Each has a server of its own.

use clap::ValueEnum;

use super::Failure;
use super::crowd;
use super::options::{Options, SceneName};
use super::plan::{Pace, Plan};
use super::report::{self, Measured};
use super::server::{ServerProcess, descriptor_limit};
use super::set_up::{PAYLOAD_BYTES, open_load};
use super::stalled;

/// Descriptors that are not clients.
const SPARE_DESCRIPTORS: u64 = 100;

/// The scenes asked for; without a choice, all of them.
pub(crate) fn chosen(options: &Options) -> Vec<SceneName> {
    match options.scene.as_slice() {
        [] => SceneName::value_variants().to_vec(),
        chosen => chosen.to_vec(),
    }
}

/// Runs one scene and prints its figures.
pub(crate) fn run(scene: SceneName, options: &Options) -> Result<(), Failure> {
    let quick = options.quick;
    let pick = |full: u64, small: u64| if quick { small } else { full };
    match scene {
        SceneName::Throughput => fan_out(1, 100, pick(40_000, 1_000), Pace::Window(64)),
        SceneName::Publishers => fan_out(4, 100, pick(40_000, 1_000), Pace::Window(64)),
        SceneName::Wide if quick => fan_out(1, 200, 25, Pace::PerSecond(50)),
        SceneName::Wide => fan_out(1, 1000, 250, Pace::PerSecond(50)),
        SceneName::Latency => fan_out(1, 1, pick(10_000, 1_000), Pace::PerSecond(2000)),
        SceneName::Pipeline => fan_out(1, 1, pick(300_000, 10_000), Pace::Window(256)),
        SceneName::Held => held(if quick {
            500.min(options.held)
        } else {
            options.held
        }),
        SceneName::Stalled => stalled::run(quick),
        SceneName::Crowd => crowd::run(quick),
    }
}

fn fan_out(
    publishers: usize,
    subscribers: usize,
    messages: u64,
    pace: Pace,
) -> Result<(), Failure> {
    let server = ServerProcess::start(&[("PUBSUB_MAX_QUEUE_SIZE", queue_size(pace))])?;
    let mut load = open_load(&server, publishers, subscribers)?;
    let plan = Plan {
        messages,
        payload_bytes: PAYLOAD_BYTES,
        pace,
    };
    let measured = Measured::take(&server, || load.run(&plan))?;
    let what = format!("{publishers} → {subscribers}, {pace}");
    report::print_line(&what, &measured);
    drop(load);
    server.stop()
}

/// A window that is larger than the default queue needs a queue of its size, or events would be dropped by design.
fn queue_size(pace: Pace) -> String {
    match pace {
        Pace::Window(window) => window.max(100).to_string(),
        Pace::PerSecond(_) => "100".to_owned(),
    }
}

fn held(wanted: u32) -> Result<(), Failure> {
    let possible = descriptor_limit()?.saturating_sub(SPARE_DESCRIPTORS);
    let subscribers = u64::from(wanted).min(possible);
    if subscribers < u64::from(wanted) {
        println!("held: only {subscribers} of {wanted}, for want of file descriptors");
    }
    let server = ServerProcess::start(&[])?;
    let before = server.resident_bytes()?;
    let mut load = open_load(&server, 1, subscribers as usize)?;
    let open = server.resident_bytes()?;
    let plan = Plan {
        messages: 5,
        payload_bytes: PAYLOAD_BYTES,
        pace: Pace::PerSecond(5),
    };
    let measured = Measured::take(&server, || load.run(&plan))?;
    report::print_line(&format!("1 → {subscribers} held, 5 broadcasts"), &measured);
    report::print_fact(&format!(
        "resident per connection: {:.1} KiB when open, {:.1} KiB after the broadcasts",
        kib_each(open.saturating_sub(before), subscribers),
        kib_each(server.resident_bytes()?.saturating_sub(before), subscribers),
    ));
    drop(load);
    server.stop()
}

fn kib_each(bytes: u64, connections: u64) -> f64 {
    bytes as f64 / 1024.0 / connections as f64
}
