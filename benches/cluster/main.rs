//! Several servers as one: `cargo bench --bench cluster` starts a Redis and nodes as child processes and puts the same work on
//! them, on a server without Redis and on bare Redis PUB/SUB, by turns. Prints figures, their medians and ratios, and whether
//! the targets are met. Fails when an event is lost, doubled or out of order; judges no speed.

mod figures;
mod growth;
mod idle;
#[path = "../compare/lines.rs"]
#[allow(dead_code, reason = "Redis is the only one of them here")]
mod lines;
#[path = "../load/mod.rs"]
#[allow(dead_code, reason = "no REST, no gaps and no crowd here")]
mod load;
mod many;
mod memory;
mod options;
mod scenes;
mod servers;
mod table;

use std::process::ExitCode;

use clap::Parser;
use threadcast::load::{Failure, raise_descriptor_limit};

use options::{Options, Scene};

fn main() -> ExitCode {
    load::exit_code(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Failure> {
    raise_descriptor_limit()?;
    let redis = servers::redis_version()?;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "threadcast {}, {redis}, {cores} cores, rounds: {}",
        env!("CARGO_PKG_VERSION"),
        options.rounds()
    );
    for &scene in options.scenes() {
        run_scene(scene, options).map_err(|failure| format!("{scene:?}: {failure}"))?;
    }
    Ok(())
}

fn run_scene(scene: Scene, options: &Options) -> Result<(), Failure> {
    match scene {
        Scene::FanOut => scenes::fan_out(options),
        Scene::Pipeline => scenes::pipeline(options),
        Scene::Latency => scenes::latency(options),
        Scene::Saturated => scenes::saturated(options),
        Scene::Idle => idle::idle(options),
        Scene::Nodes => growth::nodes(options),
        Scene::Topics => growth::topics(options),
        Scene::Subscribers => growth::subscribers(options),
        Scene::Memory => memory::memory(options),
    }
}
