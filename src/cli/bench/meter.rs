//! Processor time and memory: of this process, and of a server that it has started.

use std::fs;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// Reads the clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meter {
    server: Option<Pid>,
}

/// All clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    wall: Instant,
    own: Duration,
    server: Option<Duration>,
}

/// What passed between two moments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passed {
    pub(super) wall: Duration,
    pub(super) own_cpu: Duration,
    /// Only of a server that this program has started.
    pub(super) server_cpu: Option<Duration>,
}

impl Meter {
    pub(super) fn of(server: Option<Pid>) -> Meter {
        Meter { server }
    }

    pub(super) fn read(&self) -> Reading {
        Reading {
            wall: Instant::now(),
            own: cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap_or_default(),
            server: self.server.and_then(|pid| cpu(clock_of(pid)?)),
        }
    }

    pub(super) fn since(&self, start: Reading) -> Passed {
        let end = self.read();
        let both = end.server.zip(start.server);
        Passed {
            wall: end.wall - start.wall,
            own_cpu: end.own.saturating_sub(start.own),
            server_cpu: both.map(|(end, start)| end.saturating_sub(start)),
        }
    }

    /// Resident memory of the server, in bytes.
    pub(super) fn server_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server?)).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib * 1024)
    }
}

/// The clock of the processor time of another process.
#[cfg(target_os = "linux")]
fn clock_of(pid: Pid) -> Option<ClockId> {
    nix::time::clock_getcpuclockid(pid).ok()
}

/// Other systems may have no such clock: the processor time of the server is left out.
#[cfg(not(target_os = "linux"))]
fn clock_of(_pid: Pid) -> Option<ClockId> {
    None
}

fn cpu(clock: ClockId) -> Option<Duration> {
    clock_gettime(clock).ok().map(Duration::from)
}
