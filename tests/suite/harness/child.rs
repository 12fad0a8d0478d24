//! The server binary as a separate process: its output, exit code, threads and descriptors.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

use super::alone::entries;
use super::{DEADLINE, eventually};

const GREETINGS: [&str; 2] = ["listening on http://", "listening on https://"];

/// A running `threadcast` on a free port; killed when dropped.
pub(crate) struct ChildServer {
    child: Child,
    addr: SocketAddr,
}

impl ChildServer {
    /// Starts the binary on port 0 with these environment variables, and waits until it listens.
    pub(crate) fn start(variables: &[(&str, &str)]) -> ChildServer {
        let mut child = ChildServer::command(variables)
            .env("PUBSUB_PORT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server binary runs");
        let addr = read_address(&mut child);
        ChildServer { child, addr }
    }

    /// The binary with these environment variables and without inherited `PUBSUB_` ones.
    pub(crate) fn command(variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_threadcast"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PUBSUB_")) {
            command.env_remove(name);
        }
        command.envs(variables.iter().copied());
        command
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn threads(&self) -> usize {
        entries(&format!("/proc/{}/task", self.child.id()))
    }

    pub(crate) fn descriptors(&self) -> usize {
        entries(&format!("/proc/{}/fd", self.child.id()))
    }

    /// Its peak resident memory, in bytes.
    pub(crate) fn peak_resident_bytes(&self) -> u64 {
        self.status_kib("VmHWM:") * 1024
    }

    /// Its resident memory, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    fn status_kib(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let size = line.and_then(|line| line.trim().strip_suffix(" kB"));
        size.expect("a size in kB").parse().expect("a number")
    }

    /// Sends a signal by its name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &line]).status();
        assert!(status.is_ok_and(|status| status.success()), "{line}");
    }

    /// Waits until the process has ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        eventually("the server process ends", || {
            ended = self.child.try_wait().expect("a process can be waited for");
            ended.is_some()
        });
        ended.expect("an exit status")
    }
}

impl Drop for ChildServer {
    fn drop(&mut self) {
        let _already_ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Reads the address in the server's first line. A thread reads the rest of the output, so that the server can write.
fn read_address(child: &mut Child) -> SocketAddr {
    let output = child.stdout.take().expect("the output is piped");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = String::new();
        let _count = output.read_line(&mut line);
        let _gone = sender.send(line);
        let _rest = output.read_to_end(&mut Vec::new());
    });
    let line = receiver
        .recv_timeout(DEADLINE)
        .expect("a first line of output");
    let line = line.trim_end();
    let address = GREETINGS.iter().find_map(|start| line.strip_prefix(start));
    let address = address.unwrap_or_else(|| panic!("the first line was {line:?}"));
    address.parse().expect("an address")
}
