//! Tests that measure their own process: each runs in a separate process, so that no other test changes the count.

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
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{test} alone: {stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "no test is called {test}");
}

/// Number of threads of this process.
pub(crate) fn own_threads() -> usize {
    entries("/proc/self/task")
}

/// Number of open file descriptors of this process.
pub(crate) fn own_descriptors() -> usize {
    entries("/proc/self/fd")
}

/// CPU time this process has used.
pub(crate) fn own_cpu_time() -> Duration {
    cpu_time_of(UsageWho::RUSAGE_SELF)
}

/// CPU time that the other threads of this process have used: those of its server, where this one is the client.
pub(crate) fn cpu_time_of_others() -> Duration {
    // This order: what the thread uses between the two counts for the others.
    let own = cpu_time_of(UsageWho::RUSAGE_THREAD);
    own_cpu_time().saturating_sub(own)
}

fn cpu_time_of(who: UsageWho) -> Duration {
    let usage = getrusage(who).expect("resource usage");
    let microseconds = (usage.user_time() + usage.system_time()).num_microseconds();
    Duration::from_micros(
        microseconds
            .try_into()
            .expect("a time that is not negative"),
    )
}

/// Number of entries of a directory in `/proc`.
pub(super) fn entries(directory: &str) -> usize {
    fs::read_dir(directory).map_or(0, Iterator::count)
}
