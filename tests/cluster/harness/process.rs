//! A `redis-server` process of one test, which the test can kill, stop and start again.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[derive(Default)]
pub(super) struct Process {
    child: Mutex<Option<Child>>,
}

impl Process {
    /// Starts it with what `configure` adds to the command.
    pub(super) fn launch(&self, configure: impl FnOnce(&mut Command)) {
        let mut command = Command::new("redis-server");
        configure(&mut command);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        *self.child() = Some(child);
    }

    /// Kills it (SIGKILL) and waits for its end. Does nothing if it was killed.
    pub(super) fn kill(&self) {
        if let Some(mut child) = self.child().take() {
            child.kill().expect("it runs");
            child.wait().expect("it has ended");
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        let id = self.child().as_ref().expect("it runs").id();
        let id = i32::try_from(id).expect("a process id");
        kill(Pid::from_raw(id), signal).expect("it runs");
    }

    /// Whether it was not killed; it may be stopped.
    pub(super) fn is_running(&self) -> bool {
        self.child().is_some()
    }

    /// How it has ended by itself, if it has.
    pub(super) fn ended(&self) -> Option<ExitStatus> {
        let mut child = self.child();
        let child = child.as_mut().expect("it runs");
        child.try_wait().expect("a process can be waited for")
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().expect("no panic under the lock")
    }
}
