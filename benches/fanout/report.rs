//! What the user sees: one line per measurement, under one heading.

use std::time::Duration;

use super::Failure;
use super::run::Outcome;
use super::server::{ServerProcess, own_cpu};

/// A run with the CPU time that it cost.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) outcome: Outcome,
    server_cpu: Duration,
    load_cpu: Duration,
}

impl Measured {
    /// Runs a load between two readings of both CPU clocks.
    pub(crate) fn take(
        server: &ServerProcess,
        run: impl FnOnce() -> Result<Outcome, Failure>,
    ) -> Result<Measured, Failure> {
        let (server_before, load_before) = (server.cpu()?, own_cpu()?);
        let outcome = run()?;
        Ok(Measured {
            outcome,
            server_cpu: server.cpu()?.saturating_sub(server_before),
            load_cpu: own_cpu()?.saturating_sub(load_before),
        })
    }

    /// The 99th percentile, in microseconds.
    pub(crate) fn p99_micros(&self) -> f64 {
        self.outcome.latency.quantile_micros(0.99)
    }
}

/// The heading of the lines that follow.
pub(crate) fn print_heading() {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("threadcast {}, {cores} cores", env!("CARGO_PKG_VERSION"));
    println!();
    println!(
        "{:<44} {:>12} {:>10} {:>10} {:>10} {:>8}",
        "", "deliveries/s", "server CPU", "p50", "p99", "load CPU"
    );
}

/// One line of figures.
pub(crate) fn print_line(what: &str, measured: &Measured) {
    let outcome = &measured.outcome;
    let seconds = outcome.wall.as_secs_f64();
    let per_delivery = measured.server_cpu.as_secs_f64() * 1e6 / outcome.deliveries as f64;
    println!(
        "{what:<44} {:>12.0} {:>7.2} µs {:>7.0} µs {:>7.0} µs {:>6.0} %",
        outcome.deliveries as f64 / seconds,
        per_delivery,
        outcome.latency.quantile_micros(0.5),
        measured.p99_micros(),
        100.0 * measured.load_cpu.as_secs_f64() / seconds,
    );
}

/// One more fact about the line above.
pub(crate) fn print_fact(fact: &str) {
    println!("    {fact}");
}
