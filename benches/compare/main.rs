//! threadcast beside other servers for the same work: `cargo bench --bench compare` puts the same fan-out on each of them, from
//! one process with one clock, and writes CPU time per delivery and latency as CSV. `plot.py` draws the figures.
//! Fails unless every event arrives once and in order; judges no speed. A server that is not installed is left out.

mod lines;
#[allow(dead_code, reason = "one publisher, no REST, and no gaps here")]
#[path = "../load/mod.rs"]
mod load;
mod mqtt;
mod nchan;
mod options;
mod peer;

use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use threadcast::load::{Failure, raise_descriptor_limit};

use load::{Load, Outcome, Pace, Plan};
use options::{Options, Scene};
use peer::{Folder, Peer};

/// Bytes of a payload.
const PAYLOAD_BYTES: usize = 128;
/// Events before the clocks run: paths are warm, and every subscription is known to be there.
const WARM_UP_EVENTS: u64 = 10;
const HEADING: &str =
    "peer,series,subscribers,rate,round,deliveries,cpu_us_per_delivery,p50_us,p99_us";

fn main() -> ExitCode {
    load::exit_code(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Failure> {
    raise_descriptor_limit()?;
    let peers: Vec<Peer> = options.peers().iter().copied().filter(present).collect();
    let mut output: Box<dyn Write> = match &options.output {
        Some(path) => Box::new(File::create(path)?),
        None => Box::new(io::stdout()),
    };
    writeln!(output, "{HEADING}")?;
    // Peers take turns within a scene, so that a machine that changes its pace changes it for all of them.
    for round in 1..=options.rounds() {
        for scene in options.scenes() {
            for &peer in &peers {
                let outcome = measure(peer, &scene, options.seconds())
                    .map_err(|failure| format!("{} with {scene:?}: {failure}", peer.name()))?;
                write_row(&mut output, peer, &scene, round, &outcome)?;
            }
        }
    }
    Ok(())
}

fn present(peer: &Peer) -> bool {
    let is_installed = peer.is_installed();
    if !is_installed {
        eprintln!("{}: left out, it is not installed", peer.name());
    }
    is_installed
}

fn measure(peer: Peer, scene: &Scene, seconds: f64) -> Result<Outcome, Failure> {
    let folder = Folder::create()?;
    let server = peer.start(&folder)?;
    let mut load = Load::open(server.address(), peer.protocol(), 1, scene.subscribers)?;
    let plan = |messages| Plan {
        messages,
        payload_bytes: PAYLOAD_BYTES,
        pace: Pace::PerSecond(scene.rate),
    };
    load.run(&plan(WARM_UP_EVENTS))?;
    let events = (f64::from(scene.rate) * seconds).ceil() as u64;
    Outcome::measure(&server, || load.run(&plan(events)))
}

fn write_row(
    output: &mut dyn Write,
    peer: Peer,
    scene: &Scene,
    round: u32,
    outcome: &Outcome,
) -> io::Result<()> {
    writeln!(
        output,
        "{},{},{},{},{round},{},{:.3},{:.1},{:.1}",
        peer.name(),
        scene.series,
        scene.subscribers,
        scene.rate,
        outcome.deliveries,
        outcome.cpu_micros(),
        outcome.latencies.quantile_micros(0.5),
        outcome.latencies.quantile_micros(0.99),
    )?;
    output.flush()
}
