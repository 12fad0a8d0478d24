//! How many connections this machine carries. Past the memory-map limit a new thread does not fail,
//! it aborts the process, so the cap is computed before the first connection and never exceeded.
//! Reads nothing itself: the figures come from [`machine`].

use tracing::warn;

use super::machine;
use crate::config::ranges::MAX_CONNECTIONS;

/// What a connection costs, and what the rest of the process must keep.
pub(super) mod cost {
    /// Each of a connection's two threads maps its stack, its signal stack, and a guard for each.
    pub(crate) const MAPS_PER_CONNECTION: u64 = 8;
    /// A reader and a writer.
    pub(crate) const THREADS_PER_CONNECTION: u64 = 2;
    /// Reader and writer share one socket.
    pub(crate) const DESCRIPTORS_PER_CONNECTION: u64 = 1;
    /// Of the memory maps, the share (one in so many) left to the heap: a large buffer takes a map each.
    pub(crate) const MAPS_RESERVE_SHARE: u64 = 8;
    /// Threads left to the door, the REST workers and whoever else runs here.
    pub(crate) const THREADS_RESERVE: u64 = 300;
    /// Descriptors left to the listener, the REST workers' sockets and the files of others.
    pub(crate) const DESCRIPTORS_RESERVE: u64 = 600;
}

/// One limit of the machine, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit {
    /// The name under which an administrator finds it.
    pub(super) name: &'static str,
    pub(super) max: u64,
    /// Taken already.
    pub(super) used: u64,
    /// Kept back for everything that is no connection.
    pub(super) reserve: u64,
    pub(super) per_connection: u64,
}

impl Limit {
    /// A reserve never takes more than half of what is free, so that a tight limit still serves some.
    fn connections(&self) -> u64 {
        let free = self.max.saturating_sub(self.used);
        (free - self.reserve.min(free / 2)) / self.per_connection
    }
}

/// The most connections a server takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionCap {
    /// Connections, at least 1.
    pub connections: usize,
    /// What sets the bound: `"configured"`, or the name of the machine's limit.
    pub bound_by: &'static str,
}

/// The cap under these limits: the tightest wins, the first of equals.
pub(super) fn connection_cap(limits: &[Limit]) -> ConnectionCap {
    let most = *MAX_CONNECTIONS.end();
    let built_in = ConnectionCap {
        connections: most,
        bound_by: "the built-in maximum",
    };
    limits.iter().fold(built_in, |cap, limit| {
        let connections = usize::try_from(limit.connections()).unwrap_or(most).max(1);
        if connections < cap.connections {
            ConnectionCap {
                connections,
                bound_by: limit.name,
            }
        } else {
            cap
        }
    })
}

/// The cap of a server on this machine: what is configured, but never more than the machine carries.
pub(super) fn admit(configured: Option<usize>) -> ConnectionCap {
    machine::raise_descriptor_limit();
    let carried = connection_cap(&machine::limits());
    let Some(configured) = configured else {
        return carried;
    };
    if configured <= carried.connections {
        return ConnectionCap {
            connections: configured,
            bound_by: "configured",
        };
    }
    warn!(
        configured,
        connections = carried.connections,
        bound_by = carried.bound_by,
        "max_connections is more than this machine carries"
    );
    carried
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limit(name: &'static str, max: u64, used: u64, reserve: u64, per_connection: u64) -> Limit {
        Limit {
            name,
            max,
            used,
            reserve,
            per_connection,
        }
    }

    fn cap(connections: usize, bound_by: &'static str) -> ConnectionCap {
        ConnectionCap {
            connections,
            bound_by,
        }
    }

    #[test]
    fn the_tightest_limit_bounds_the_connections() {
        let maps = limit("maps", 65_530, 130, 8_191, 8);
        let files = limit("files", 20_000, 10, 600, 1);
        let threads = limit("threads", 10_000, 500, 300, 2);
        let table: [(&[Limit], ConnectionCap); 5] = [
            (&[], cap(1_000_000, "the built-in maximum")),
            (&[maps], cap(7_151, "maps")),
            (&[maps, files], cap(7_151, "maps")),
            (&[files, maps, threads], cap(4_600, "threads")),
            (
                &[limit("no end", u64::MAX, 0, 600, 1)],
                cap(1_000_000, "the built-in maximum"),
            ),
        ];
        for (limits, expected) in table {
            assert_eq!(connection_cap(limits), expected);
        }
    }

    #[test]
    fn a_tight_limit_still_serves_some() {
        assert_eq!(
            connection_cap(&[limit("files", 256, 6, 600, 1)]),
            cap(125, "files")
        );
        assert_eq!(
            connection_cap(&[limit("full", 100, 200, 10, 2)]),
            cap(1, "full")
        );
    }

    #[test]
    fn what_is_configured_holds_when_the_machine_carries_it() {
        assert_eq!(admit(Some(1)), cap(1, "configured"));
    }

    #[test]
    fn what_the_machine_carries_is_never_exceeded() {
        assert_eq!(
            admit(Some(1_000_000_000)).connections,
            admit(None).connections
        );
    }

    proptest! {
        #[test]
        fn no_limit_is_overrun(max: u64, used: u64, reserve: u64, per_connection in 1_u64..100) {
            let limit = Limit { name: "any", max, used, reserve, per_connection };
            let connections = connection_cap(&[limit]).connections as u64;
            prop_assert!(connections == 1 || connections * per_connection <= max - used);
        }
    }
}
