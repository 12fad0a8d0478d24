//! The project's own figures: `cargo bench --bench fanout` starts the built server as a child process, puts one scene
//! of fan-out work after the other on it, and prints throughput, server CPU per delivery and latency.
//! Checks while it measures that no event is lost, doubled or out of order; it judges no speed.
//!
//! One thread on one epoll carries all clients, so that the load costs little and uses one clock; in the scene `crowd`, a
//! few threads do.

mod client;
mod crowd;
#[path = "../../src/cli/bench/histogram.rs"]
mod histogram;
#[path = "../../src/cli/bench/ledger.rs"]
mod ledger;
mod load;
mod options;
mod plan;
mod report;
mod rest;
mod run;
mod scenes;
mod server;
mod set_up;
mod stalled;
mod template;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use options::Options;

/// What a scene ends with when it cannot go on, or when its check fails.
pub(crate) type Failure = Box<dyn std::error::Error>;

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
    server::allow_all_descriptors()?;
    report::print_heading();
    for scene in scenes::chosen(options) {
        scenes::run(scene, options).map_err(|failure| format!("{scene:?}: {failure}"))?;
    }
    Ok(())
}
