//! The project's own figures: `cargo bench --bench fanout` starts the built server as a child process, puts one scene
//! of fan-out work after the other on it, and prints throughput, server CPU per delivery and latency.
//! Fails when an event is lost, doubled or out of order; judges no speed.

mod crowd;
mod joins;
#[path = "../load/mod.rs"]
mod load;
mod options;
mod scenes;

use std::process::ExitCode;

use clap::Parser;
use threadcast::client::Client;
use threadcast::load::{Failure, ServerProcess, raise_descriptor_limit};

use load::protocol::TOPIC;
use load::{Outcome, Plan};
use options::Options;

/// The payload of every figure.
const PAYLOAD_BYTES: usize = 128;

fn main() -> ExitCode {
    load::exit_code(run(&Options::parse()))
}

fn run(options: &Options) -> Result<(), Failure> {
    let descriptors = raise_descriptor_limit()?;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("threadcast {}, {cores} cores", env!("CARGO_PKG_VERSION"));
    println!();
    println!(
        "{:<44} {:>12} {:>10} {:>10} {:>10} {:>8}",
        "", "deliveries/s", "server CPU", "p50", "p99", "load CPU"
    );
    for &scene in options.scenes() {
        scenes::run(scene, options, descriptors)
            .map_err(|failure| format!("{scene:?}: {failure}"))?;
    }
    Ok(())
}

/// Starts a server with these flags and creates the topic.
fn start_server(flags: &[&str]) -> Result<ServerProcess, Failure> {
    let mut command = ServerProcess::threadcast(env!("CARGO_BIN_EXE_threadcast"));
    let server = ServerProcess::start_threadcast(command.args(flags))?;
    let client = Client::connect(&format!("http://{}", server.address()))?;
    client.create_topic(TOPIC)?;
    Ok(server)
}

/// One line of figures.
fn print_line(what: &str, outcome: &Outcome) {
    let usage = &outcome.usage;
    let seconds = usage.wall.as_secs_f64();
    println!(
        "{what:<44} {:>12.0} {:>7.2} µs {:>7.0} µs {:>7.0} µs {:>6.0} %",
        outcome.deliveries as f64 / seconds,
        outcome.cpu_micros(),
        outcome.latencies.quantile_micros(0.5),
        outcome.latencies.quantile_micros(0.99),
        100.0 * usage.own_cpu.as_secs_f64() / seconds,
    );
}

/// One more fact about the line above.
fn print_fact(fact: &str) {
    println!("    {fact}");
}

/// The median of ratios of the server's CPU.
fn print_median(what: &str, mut ratios: Vec<f64>) {
    ratios.sort_by(f64::total_cmp);
    let (median, rounds) = (ratios[ratios.len() / 2], ratios.len());
    print_fact(&format!(
        "server CPU of {what}: {median:.2} (median of {rounds})"
    ));
}
