//! The load of the benchmarks: clients of any protocol on one epoll in the calling thread, so that the load
//! costs little and uses one clock.

mod clients;
mod driver;
pub(crate) mod event_stream;
pub(crate) mod protocol;
pub(crate) mod threadcast;

use std::fmt;
use std::process::ExitCode;

use ::threadcast::load::{self, Failure, Latencies, ServerProcess, Usage};

pub(crate) use driver::Load;

/// The end of a benchmark: prints what failed.
pub(crate) fn exit_code(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// How the publishers send.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// So many messages may be on their way to the slowest subscriber.
    Window(u64),
    /// So many messages a second, whatever has arrived.
    PerSecond(u32),
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pace::Window(window) => write!(f, "window {window}"),
            Pace::PerSecond(rate) => write!(f, "{rate}/s"),
        }
    }
}

/// One run of a load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) messages: u64,
    pub(crate) payload_bytes: usize,
    pub(crate) pace: Pace,
}

/// What a run measured.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) deliveries: u64,
    /// Events that were reported as gaps.
    pub(crate) reported: u64,
    pub(crate) latencies: Latencies,
    pub(crate) usage: Usage,
}

impl Outcome {
    /// Adds what other clients measured at the same time.
    pub(crate) fn add(&mut self, other: &Outcome) {
        self.deliveries += other.deliveries;
        self.reported += other.reported;
        self.latencies += &other.latencies;
    }

    /// Runs a load, and adds the processor time that it took.
    pub(crate) fn measure(
        server: &ServerProcess,
        run: impl FnOnce() -> Result<Outcome, Failure>,
    ) -> Result<Outcome, Failure> {
        let (outcome, usage) = load::measure(Some(server), run);
        let mut outcome = outcome?;
        // The run knows better when it began and ended.
        let wall = outcome.usage.wall;
        outcome.usage = Usage { wall, ..usage };
        Ok(outcome)
    }

    /// Processor time of the server for each delivery, in microseconds.
    pub(crate) fn cpu_micros(&self) -> f64 {
        let cpu = self.usage.server_cpu.unwrap_or_default();
        cpu.as_secs_f64() * 1e6 / self.deliveries as f64
    }
}
