//! How many connections this machine carries. Past the memory-map limit a new thread does not fail,
//! it aborts the process, and so it does when no more memory may be mapped: so the cap is computed before the first connection and never exceeded.
//! Reads nothing itself: the figures come from [`machine`].

use tracing::warn;

use super::limit::Limit;
use super::machine;
use crate::config::ranges::MAX_CONNECTIONS;
use crate::config::settings::MAX_CONNECTIONS_ID;
use crate::config::{Setting, SettingValue, Source};

/// What sets the bound when the machine carries more.
const CONFIGURED: &str = "configured";

/// The most connections a server takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionCap {
    /// Connections, at least 1.
    pub connections: usize,
    /// What sets the bound: `"configured"`, or the name of the machine's limit.
    pub bound_by: &'static str,
}

impl ConnectionCap {
    /// Puts the cap in force among the settings, unless it is the configured one.
    pub(super) fn tell(self, settings: &mut [Setting]) {
        let computed = settings
            .iter_mut()
            .filter(|setting| setting.id == MAX_CONNECTIONS_ID && self.bound_by != CONFIGURED);
        for setting in computed {
            setting.value = Some(SettingValue::Whole(self.connections as u64));
            setting.source = Source::Computed;
        }
    }
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
            bound_by: CONFIGURED,
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
        // What is used changes from moment to moment, so two of them cannot be compared.
        let cap = admit(Some(usize::MAX));
        assert_ne!(cap.bound_by, "configured");
        assert!(cap.connections <= 1_000_000, "{cap:?}");
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
