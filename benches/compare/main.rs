//! threadcast beside other servers for the same work: `cargo bench --bench compare` puts the same fan-out on each of them, from
//! one process with one clock, and writes CPU time per delivery and latency as CSV. `plot.py` draws the figures.
//! Checks while it measures that every event arrives once and in order; judges no speed.
//!
//! A server that is not installed is left out.

#[path = "../../src/cli/bench/histogram.rs"]
mod histogram;
#[allow(dead_code, reason = "the other servers tell no gaps")]
#[path = "../../src/cli/bench/ledger.rs"]
mod ledger;
mod line;
mod load;
mod mqtt;
mod options;
mod peer;
mod process;
mod stamp;
mod websocket;
mod wire;

use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use load::{Figures, Plan};
use options::{Options, Scene};
use peer::Peer;
use process::ServerProcess;

/// What a measurement ends with when it cannot go on, or when its check fails.
pub(crate) type Failure = Box<dyn std::error::Error>;

const HEADING: &str =
    "peer,series,subscribers,rate,round,deliveries,cpu_us_per_delivery,p50_us,p99_us";

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let peers: Vec<Peer> = options.peers().into_iter().filter(present).collect();
    let mut output: Box<dyn Write> = match &options.output {
        Some(path) => Box::new(File::create(path)?),
        None => Box::new(io::stdout()),
    };
    writeln!(output, "{HEADING}")?;
    // Peers take turns within a scene, so that a machine that changes its pace changes it for all of them.
    for round in 1..=options.rounds() {
        for scene in options.scenes() {
            for &peer in &peers {
                let figures = measure(peer, &scene, options.seconds())
                    .map_err(|failure| format!("{} with {scene:?}: {failure}", peer.name()))?;
                write_row(&mut output, peer, &scene, round, &figures)?;
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

fn measure(peer: Peer, scene: &Scene, seconds: f64) -> Result<Figures, Failure> {
    let server: ServerProcess = peer.start()?;
    let plan = Plan {
        subscribers: scene.subscribers,
        rate: scene.rate,
        events: (f64::from(scene.rate) * seconds).ceil() as u64,
    };
    load::run(&server, peer.wire().as_ref(), &plan)
}

fn write_row(
    output: &mut dyn Write,
    peer: Peer,
    scene: &Scene,
    round: u32,
    figures: &Figures,
) -> io::Result<()> {
    writeln!(
        output,
        "{},{},{},{},{round},{},{:.3},{:.1},{:.1}",
        peer.name(),
        scene.series,
        scene.subscribers,
        scene.rate,
        figures.deliveries,
        figures.server_cpu.as_secs_f64() * 1e6 / figures.deliveries as f64,
        figures.latency.quantile_micros(0.5),
        figures.latency.quantile_micros(0.99),
    )?;
    output.flush()
}
