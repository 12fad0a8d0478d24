//! What the machine allows this process: memory maps, mapped bytes, descriptors, threads. Reads `/proc`, the control
//! group and the resource limits; what cannot be read (another system, a closed `/proc`) is no limit.
//! Never decides anything.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use super::limit::{Limit, cost};

/// Where version 2 of the control groups is mounted.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// macOS accepts no higher soft limit (its `OPEN_MAX`), whatever the hard one is.
const MAX_DESCRIPTORS: Option<u64> = if cfg!(target_os = "macos") {
    Some(10_240)
} else {
    None
};

/// The limits of how much memory a process may map, each with the field of `/proc/self/status` that counts it.
const MAPPED_BYTES: [(Resource, &str, &str); 2] = [
    (Resource::RLIMIT_AS, "RLIMIT_AS", "VmSize:"),
    (Resource::RLIMIT_DATA, "RLIMIT_DATA", "VmData:"),
];

/// Every limit that bounds the number of connections.
pub(super) fn limits() -> Vec<Limit> {
    let own_threads = entries("/proc/self/task");
    let all_threads = running_threads().unwrap_or(own_threads);
    [
        memory_maps(),
        descriptors(),
        threads("RLIMIT_NPROC", max_threads_of_user(), own_threads),
        threads(
            "kernel.threads-max",
            number("/proc/sys/kernel/threads-max"),
            all_threads,
        ),
        threads(
            "kernel.pid_max",
            number("/proc/sys/kernel/pid_max"),
            all_threads,
        ),
        cgroup_threads(),
    ]
    .into_iter()
    .flatten()
    .chain(mapped_bytes())
    .collect()
}

/// Whether as much memory can still be mapped as a new thread takes, with a margin for others that start meanwhile. A
/// thread that finds none for its signal stack, and an allocation, do not fail but end the process.
pub(super) fn has_room_for_a_thread() -> bool {
    mapped_bytes().all(|limit| limit.max.saturating_sub(limit.used) >= cost::MAPPED_BYTES_MARGIN)
}

fn mapped_bytes() -> impl Iterator<Item = Limit> {
    MAPPED_BYTES
        .into_iter()
        .filter_map(|(resource, name, field)| {
            Some(Limit {
                name,
                max: soft_limit(resource)?,
                used: status_kib(field)? << 10,
                reserve: cost::MAPPED_BYTES_RESERVE,
                per_connection: cost::MAPPED_BYTES_PER_CONNECTION,
            })
        })
}

/// A field of `/proc/self/status` that is a size, such as `VmSize:    379360 kB`.
fn status_kib(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let size = status.lines().find_map(|line| line.strip_prefix(field))?;
    size.trim().strip_suffix(" kB")?.parse().ok()
}

/// Raises the descriptor limit as far as this process may. A refusal leaves it as it is.
pub(super) fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let most = MAX_DESCRIPTORS.map_or(hard, |max| hard.min(max));
        if soft < most {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, most, hard);
        }
    }
}

/// Only on Linux does this limit count threads.
#[cfg(target_os = "linux")]
fn max_threads_of_user() -> Option<u64> {
    soft_limit(Resource::RLIMIT_NPROC)
}

#[cfg(not(target_os = "linux"))]
fn max_threads_of_user() -> Option<u64> {
    None
}

fn memory_maps() -> Option<Limit> {
    let max = number("/proc/sys/vm/max_map_count")?;
    Some(Limit {
        name: "vm.max_map_count",
        max,
        used: fs::read("/proc/self/maps").map_or(0, |maps| lines(&maps)),
        reserve: max / cost::MAPS_RESERVE_SHARE,
        per_connection: cost::MAPS_PER_CONNECTION,
    })
}

fn descriptors() -> Option<Limit> {
    Some(Limit {
        name: "RLIMIT_NOFILE",
        max: soft_limit(Resource::RLIMIT_NOFILE)?,
        used: entries("/proc/self/fd"),
        reserve: cost::DESCRIPTORS_RESERVE,
        per_connection: cost::DESCRIPTORS_PER_CONNECTION,
    })
}

fn threads(name: &'static str, max: Option<u64>, used: u64) -> Option<Limit> {
    Some(Limit {
        name,
        max: max?,
        used,
        reserve: cost::THREADS_RESERVE,
        per_connection: cost::THREADS_PER_CONNECTION,
    })
}

/// The tightest `pids.max` between this process's own group and the root: each of them holds.
fn cgroup_threads() -> Option<Limit> {
    let group = own_cgroup(&fs::read_to_string("/proc/self/cgroup").ok()?)?;
    group
        .ancestors()
        .take_while(|directory| directory.starts_with(CGROUP_ROOT))
        .filter_map(|directory| {
            let max = number(directory.join("pids.max"))?;
            threads(
                "pids.max",
                Some(max),
                number(directory.join("pids.current")).unwrap_or(0),
            )
        })
        .min_by_key(|limit| limit.max.saturating_sub(limit.used))
}

/// The directory of the group named by `/proc/self/cgroup`, in whose version 2 line all is `0::/path`.
fn own_cgroup(memberships: &str) -> Option<PathBuf> {
    let path = memberships
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(CGROUP_ROOT).join(path))
}

/// Threads of the whole system: the fourth field of `/proc/loadavg` is `running/all`.
fn running_threads() -> Option<u64> {
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    load.split_whitespace()
        .nth(3)?
        .split_once('/')?
        .1
        .parse()
        .ok()
}

fn soft_limit(resource: Resource) -> Option<u64> {
    let (soft, _) = getrlimit(resource).ok()?;
    (soft != RLIM_INFINITY).then_some(soft)
}

/// The number a file holds; `None` also for the `max` of a control group without a limit.
fn number<T: FromStr>(path: impl AsRef<Path>) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn entries(directory: &str) -> u64 {
    fs::read_dir(directory).map_or(0, |entries| entries.count() as u64)
}

fn lines(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_version_2_is_found_among_others() {
        let hybrid =
            "12:pids:/user.slice\n1:name=systemd:/init\n0::/system.slice/threadcast.service\n";
        let expected = "/sys/fs/cgroup/system.slice/threadcast.service";
        assert_eq!(own_cgroup(hybrid), Some(PathBuf::from(expected)));
        assert_eq!(own_cgroup("0::/\n"), Some(PathBuf::from("/sys/fs/cgroup/")));
        assert_eq!(own_cgroup("1:pids:/\n"), None);
    }

    #[test]
    fn what_cannot_be_read_is_no_limit() {
        assert_eq!(number::<u64>("/nonexistent"), None);
        assert_eq!(threads("any", None, 7), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_what_is_mapped() {
        for (_, name, field) in MAPPED_BYTES {
            assert!(status_kib(field).is_some_and(|kib| kib > 0), "{name}");
        }
        assert_eq!(status_kib("Name:"), None);
        assert!(has_room_for_a_thread());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_its_descriptors_and_threads() {
        let names: Vec<_> = limits().iter().map(|limit| limit.name).collect();
        assert!(names.contains(&"RLIMIT_NOFILE"), "{names:?}");
        assert!(names.contains(&"kernel.pid_max"), "{names:?}");
    }
}
