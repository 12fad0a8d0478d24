//! A server under test: a child process, its address, its processor time and memory, and its end.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::Failure;

const START_DEADLINE: Duration = Duration::from_secs(10);
/// Longer than threadcast itself takes to stop with its default settings.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
const VARIABLE_PREFIX: &str = "PUBSUB_";

/// A running server. Ended when dropped.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    address: SocketAddr,
    /// Kept open: a server may fail when nobody can read what it prints.
    _stdout: Option<BufReader<ChildStdout>>,
}

impl ServerProcess {
    /// The command that starts the program `threadcast` on a free port of the loopback, with default settings whatever the
    /// environment says.
    pub fn threadcast(program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with(VARIABLE_PREFIX) {
                command.env_remove(name);
            }
        }
        command.args(["--host", "127.0.0.1", "--port", "0"]);
        command.args(["--log-level", "ERROR", "--heartbeat-secs", "3600"]);
        command
    }

    fn spawn(command: &mut Command) -> io::Result<ServerProcess> {
        let child = command.stdin(Stdio::null()).spawn()?;
        Ok(ServerProcess {
            child,
            address: SocketAddr::from(([0; 4], 0)),
            _stdout: None,
        })
    }

    /// Starts a `threadcast` and reads its address from what it prints.
    pub fn start_threadcast(command: &mut Command) -> Result<ServerProcess, Failure> {
        let mut server = ServerProcess::spawn(command.stdout(Stdio::piped()))?;
        let mut stdout = server.child.stdout.take().map(BufReader::new);
        let mut line = String::new();
        if let Some(stdout) = &mut stdout {
            stdout.read_line(&mut line)?;
        }
        let address = line.trim_end().strip_prefix("listening on http://");
        server.address = address.ok_or("it printed no address")?.parse()?;
        server._stdout = stdout;
        Ok(server)
    }

    /// Starts any server and waits until it accepts connections at `address`.
    pub fn start_at(command: &mut Command, address: SocketAddr) -> Result<ServerProcess, Failure> {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = ServerProcess::spawn(command)?;
        server.address = address;
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("it did not start: {status}").into());
            }
            if started.elapsed() > START_DEADLINE {
                return Err("it accepts no connections".into());
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Processor time of the process and its children so far; `None` on a system that does not tell it.
    pub fn cpu(&self) -> Option<Duration> {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().map(|child| child.parse().ok());
        std::iter::once(i32::try_from(id).ok())
            .chain(children)
            .map(|id| process_cpu(Pid::from_raw(id?)))
            .sum()
    }

    /// Resident memory in bytes; `None` on a system that does not tell it.
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib * 1024)
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(mut self) -> Result<(), Failure> {
        match self.end()? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("the server ended with {status}").into()),
            None => Err("the server did not stop".into()),
        }
    }

    /// Ends the process; `None` when it had to be killed. Asked first: a killed nginx leaves its worker behind.
    fn end(&mut self) -> io::Result<Option<ExitStatus>> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(Some(status));
        }
        if let Ok(id) = i32::try_from(self.child.id()) {
            kill(Pid::from_raw(id), Signal::SIGTERM)?;
        }
        let asked = Instant::now();
        while asked.elapsed() < STOP_DEADLINE {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            thread::sleep(POLL_INTERVAL);
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(None)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Fails only when it has ended.
        let _ = self.end();
    }
}

/// What a part of a measurement took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub wall: Duration,
    /// Processor time of this process.
    pub own_cpu: Duration,
    /// Processor time of the server; `None` where it cannot be known.
    pub server_cpu: Option<Duration>,
}

/// Runs something between two readings of all clocks; that of the server only if it was started here.
pub fn measure<T>(server: Option<&ServerProcess>, run: impl FnOnce() -> T) -> (T, Usage) {
    let server_cpu = || server.and_then(ServerProcess::cpu);
    let (server_before, own_before, start) = (server_cpu(), own_cpu(), Instant::now());
    let result = run();
    let usage = Usage {
        wall: start.elapsed(),
        own_cpu: own_cpu().saturating_sub(own_before),
        server_cpu: server_cpu()
            .zip(server_before)
            .map(|(now, before)| now.saturating_sub(before)),
    };
    (result, usage)
}

fn own_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

#[cfg(target_os = "linux")]
fn process_cpu(id: Pid) -> Option<Duration> {
    let clock = nix::time::clock_getcpuclockid(id).ok()?;
    clock_gettime(clock).ok().map(Duration::from)
}

#[cfg(not(target_os = "linux"))]
fn process_cpu(_id: Pid) -> Option<Duration> {
    None
}

/// Raises the limit on descriptors as far as it may be, also for the server, which inherits it. Returns how many this process
/// may open.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Ok(most)
}
