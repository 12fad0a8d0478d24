//! Runs the real program, without the environment of the caller, and with a deadline on every wait.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Far more than any step takes, so that only a hang exceeds it.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// A command without `PUBSUB_*` variables in its environment.
pub(super) fn threadcast(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_threadcast"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PUBSUB_") {
            command.env_remove(name);
        }
    }
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A running program. Dropping it kills the program.
pub(super) struct Program {
    pid: Pid,
    exit: Receiver<ExitStatus>,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Program {
    pub(super) fn start(command: &mut Command) -> Program {
        let mut child = command.spawn().expect("the program must start");
        let out = child
            .stdout
            .take()
            .map(lines)
            .unwrap_or_else(|| channel().1);
        let err = child
            .stderr
            .take()
            .map(lines)
            .unwrap_or_else(|| channel().1);
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid fits"));
        let (exited, exit) = channel();
        thread::spawn(move || child.wait().map(|status| exited.send(status)));
        Program {
            pid,
            exit,
            out,
            err,
        }
    }

    /// A server on a free port, and the address it printed.
    pub(super) fn serve(command: &mut Command) -> (Program, String) {
        let program = Program::start(command);
        let line = program
            .out
            .recv_timeout(DEADLINE)
            .expect("the address must be printed");
        let address = line
            .strip_prefix("listening on http://")
            .expect("an address");
        (program, address.to_owned())
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill(self.pid, signal).expect("the program must be running");
    }

    /// Its running child processes.
    pub(super) fn children(&self) -> Vec<u32> {
        let file = format!("/proc/{0}/task/{0}/children", self.pid);
        let children = std::fs::read_to_string(file).unwrap_or_default();
        children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect()
    }

    /// How many threads it has.
    pub(super) fn threads(&self) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid));
        tasks.map_or(0, Iterator::count)
    }

    /// Waits for a line on standard error that contains this text.
    pub(super) fn logged(&self, text: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.err.recv_timeout(left);
            match line {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(error) => panic!("'{text}' was not logged: {error}"),
            }
        }
    }

    /// Waits for the end; returns the exit code and the unread output.
    pub(super) fn end(&self) -> End {
        let status = self
            .exit
            .recv_timeout(DEADLINE)
            .expect("the program must end");
        End {
            code: status.code(),
            out: rest(&self.out),
            err: rest(&self.err),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
    }
}

/// How a program ended.
#[derive(Debug)]
pub(super) struct End {
    /// `None` after a signal.
    pub(super) code: Option<i32>,
    pub(super) out: Vec<String>,
    pub(super) err: Vec<String>,
}

/// Runs a program to its end.
pub(super) fn run(command: &mut Command) -> End {
    Program::start(command).end()
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    thread::spawn(move || lines.for_each(|line| drop(sender.send(line))));
    receiver
}

fn rest(lines: &Receiver<String>) -> Vec<String> {
    std::iter::from_fn(|| lines.recv_timeout(DEADLINE).ok()).collect()
}
