//! Tests that look at their own process: each runs in one of its own, so that no other test disturbs the count.

use std::env;
use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

const ALONE: &str = "THREADCAST_TEST_ALONE";

/// Runs `body` in a process that runs nothing but the test named `test` (path and name, as libtest prints it).
pub(crate) fn alone(test: &str, body: impl FnOnce()) {
    if env::var_os(ALONE).is_some() {
        return body();
    }
    let binary = env::current_exe().expect("the path of this binary");
    let output = Command::new(binary)
        .args([test, "--exact", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .expect("this binary runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{test} alone: {said}\n{complained}"
    );
    assert!(said.contains("1 passed"), "no test is called {test}");
}

/// Threads of this process.
pub(crate) fn own_threads() -> usize {
    entries("/proc/self/task")
}

/// Open file descriptors of this process.
pub(crate) fn own_descriptors() -> usize {
    entries("/proc/self/fd")
}

/// Processor time this process has used.
pub(crate) fn own_cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("it can be asked");
    let microseconds = (usage.user_time() + usage.system_time()).num_microseconds();
    Duration::from_micros(microseconds.try_into().expect("time runs forward"))
}

/// Entries of a directory of `/proc`.
pub(super) fn entries(directory: &str) -> usize {
    fs::read_dir(directory).map_or(0, Iterator::count)
}
