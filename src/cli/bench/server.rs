//! A server of the measurement's own: this very program as another process, so that its processor time is told apart.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cli::error::CliError;
use crate::cli::serve;

/// Longer than the server itself takes to stop with the settings it is given.
const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// A running server. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct OwnServer {
    child: Child,
    url: String,
}

impl OwnServer {
    /// Starts it on a free port of the loopback, with the usual settings whatever the environment says. It is in a
    /// process group of its own: Ctrl-C is for the measurement, which then stops it in order. It stops by itself when
    /// this thread is gone.
    pub(super) fn start() -> Result<OwnServer, CliError> {
        let program = env::current_exe().map_err(not_started)?;
        let mut command = Command::new(program);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("PUBSUB_") {
                command.env_remove(name);
            }
        }
        command
            .env(serve::PARENT, process::id().to_string())
            .args(["serve", "--host", "127.0.0.1", "--port", "0"])
            .args(["--log-level", "ERROR", "--heartbeat-secs", "3600"])
            .args(["--max-topics", "1000000"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().map_err(not_started)?;
        let out = child.stdout.take();
        // Whatever happens from here on, it is ended.
        let mut server = OwnServer {
            child,
            url: String::new(),
        };
        let address = out.and_then(printed_address);
        server.url = address.ok_or_else(|| not_started("it printed no address"))?;
        Ok(server)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn pid(&self) -> Pid {
        // A process id is a small positive number.
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or_default())
    }

    /// Asks it to stop, and waits until it has.
    pub(super) fn stop(mut self) {
        let _ = kill(self.pid(), Signal::SIGTERM);
        let asked = Instant::now();
        while asked.elapsed() < STOP_DEADLINE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // Both fail only when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn not_started(reason: impl std::fmt::Display) -> CliError {
    CliError::failed(format!("the server did not start: {reason}"))
}

fn printed_address(out: ChildStdout) -> Option<String> {
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line).ok()?;
    let address = line.trim_end().strip_prefix("listening on http://")?;
    Some(format!("ws://{address}/ws"))
}

/// Raises the soft limit on descriptors to the hard one; the server inherits it. What is refused shows later.
pub(super) fn allow_all_descriptors() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
