//! The server under test: the built binary as a child process, with its CPU time and resident memory.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};
use threadcast::client::Client;

use super::Failure;

const START_DEADLINE: Duration = Duration::from_secs(10);
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// A running server; killed when dropped without [`ServerProcess::stop`].
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
    address: SocketAddr,
}

impl ServerProcess {
    /// Starts the server on a free port of the loopback, with `settings` as its environment.
    pub(crate) fn start(settings: &[(&str, String)]) -> Result<ServerProcess, Failure> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_threadcast"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PUBSUB_") {
                command.env_remove(name);
            }
        }
        let child = command
            .args([
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                "--heartbeat-secs",
                "600",
            ])
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut server = ServerProcess {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        server.address = server.printed_address()?;
        Ok(server)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Reads what the server prints until it names its address; the pipes are emptied for as long as it lives.
    fn printed_address(&mut self) -> Result<SocketAddr, Failure> {
        let (printed, lines) = mpsc::channel();
        if let Some(stdout) = self.child.stdout.take() {
            forward(stdout, printed.clone());
        }
        if let Some(stderr) = self.child.stderr.take() {
            forward(stderr, printed);
        }
        let mut last_line = "it printed nothing".to_owned();
        while let Ok(line) = lines.recv_timeout(START_DEADLINE) {
            if let Some(address) = loopback_address(&line) {
                return Ok(address);
            }
            last_line = line;
        }
        Err(format!("the server did not start: {last_line}").into())
    }

    /// Creates a topic over REST.
    pub(crate) fn create_topic(&self, name: &str) -> Result<(), Failure> {
        let client = Client::connect(&format!("http://{}", self.address))?;
        Ok(client.create_topic(name)?)
    }

    /// CPU time used so far, user and system.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        cpu_time(&format!("/proc/{}/stat", self.child.id()))
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|value| value.split_whitespace().next())
            .ok_or("no VmRSS in /proc")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    /// Asks the server to stop; an end other than exit code 0 is a failure.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        kill(
            Pid::from_raw(i32::try_from(self.child.id())?),
            Signal::SIGTERM,
        )?;
        let asked = Instant::now();
        while asked.elapsed() < STOP_DEADLINE {
            if let Some(status) = self.child.try_wait()? {
                return match status.success() {
                    true => Ok(()),
                    false => Err(format!("the server ended with {status}").into()),
                };
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err("the server did not stop".into())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Both fail only when the child has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of this process.
pub(crate) fn own_cpu() -> Result<Duration, Failure> {
    cpu_time("/proc/self/stat")
}

/// Raises the soft limit on descriptors to the hard one; the server inherits it.
pub(crate) fn allow_all_descriptors() -> Result<(), Failure> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(())
}

/// How many sockets this process may open.
pub(crate) fn descriptor_limit() -> Result<u64, Failure> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

/// Reads a pipe to its end, whether or not anybody still wants the lines: a full pipe would stop the server.
fn forward(output: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
}

fn loopback_address(line: &str) -> Option<SocketAddr> {
    let port = &line[line.find("127.0.0.1:")? + "127.0.0.1:".len()..];
    let digits = port
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(port.len());
    let port = port[..digits].parse().ok()?;
    Some(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn cpu_time(path: &str) -> Result<Duration, Failure> {
    let stat = fs::read_to_string(path)?;
    let after_name = stat.rfind(')').ok_or("unreadable /proc stat")? + 1;
    let fields: Vec<&str> = stat[after_name..].split_whitespace().collect();
    let ticks = fields.get(11).ok_or("short /proc stat")?.parse::<u64>()?
        + fields.get(12).ok_or("short /proc stat")?.parse::<u64>()?;
    let per_second = sysconf(SysconfVar::CLK_TCK)?.unwrap_or(100);
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}
