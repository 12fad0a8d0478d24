//! Process metrics with their standard names. Values that cannot be read are omitted.

use std::fs;

use nix::sys::resource::{RLIM_INFINITY, Resource, UsageWho, getrlimit, getrusage};

use super::{Families, Value};

/// The unit of process times on Linux, on any machine (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Appends the metrics of this process.
pub(crate) fn push_process(page: &mut Families) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(seconds) = cpu_seconds() {
        let help = "Processor time used, in user and system mode";
        page.seconds("process_cpu", help, Value::Total(seconds));
    }
    if let Some(kib) = number(&status, "VmRSS:") {
        page.bytes("process_resident_memory", "Resident memory", kib << 10);
    }
    if let Some(kib) = number(&status, "VmSize:") {
        page.bytes("process_virtual_memory", "Virtual memory", kib << 10);
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // One descriptor is that of the directory.
        let open = entries.count().saturating_sub(1);
        page.gauge("process_open_fds", "Open file descriptors", open);
    }
    if let Some(max) = max_descriptors() {
        let help = "How many file descriptors may be open";
        page.one("process_max_fds", help, Value::Gauge(max));
    }
    if let Some(seconds) = start_time() {
        let help = "When the process started, since 1970";
        page.seconds("process_start_time", help, Value::Reading(seconds));
    }
    if let Some(threads) = number(&status, "Threads:") {
        page.one("process_threads", "Threads", Value::Gauge(threads));
    }
}

fn cpu_seconds() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let (user, system) = (usage.user_time(), usage.system_time());
    let seconds = user.tv_sec() + system.tv_sec();
    let micros = user.tv_usec() + system.tv_usec();
    Some(seconds as f64 + micros as f64 / 1e6)
}

fn max_descriptors() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    (soft != RLIM_INFINITY).then_some(soft)
}

/// The boot time of the machine plus the start time of the process relative to it.
fn start_time() -> Option<f64> {
    let own = fs::read_to_string("/proc/self/stat").ok()?;
    let machine = fs::read_to_string("/proc/stat").ok()?;
    Some(number(&machine, "btime")? as f64 + started_after_boot(&own)?)
}

/// The 22nd field. The second is a name in parentheses that may contain anything.
fn started_after_boot(stat: &str) -> Option<f64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let ticks: f64 = behind_name.split_whitespace().nth(19)?.parse().ok()?;
    Some(ticks / TICKS_PER_SECOND)
}

/// The first number in the line that starts with `field`.
fn number(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_is_parsed_with_any_process_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 5 0 0 0 1 2 3 4 20 0 9 0 12345 6 7";
        assert_eq!(started_after_boot(stat), Some(123.45));
        assert_eq!(started_after_boot("7 (a"), None);
    }

    #[test]
    fn number_after_a_field_is_parsed() {
        let status = "Name:\tx\nVmRSS:\t    1204 kB\nThreads:\t3\n";
        assert_eq!(number(status, "VmRSS:"), Some(1204));
        assert_eq!(number(status, "Threads:"), Some(3));
        assert_eq!(number(status, "VmSize:"), None);
    }
}
