//! Limits of one address: how many connections it has, and how many requests it sends in a second.
//!
//! An address is that of the client, also behind a proxy; of IPv6 it is a network of 64 bits. Both tables are bounded: the
//! connections of addresses by the number of connections, the rates by [`MAX_ADDRESSES`].

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::client_address::ClientAddress;
use super::http::Problem;
use super::places::{Full, Place, Places};
use super::token_bucket::TokenBucket;
use crate::limited_log::{LimitedLog, limited};
use crate::metrics::SharedMetrics;
use crate::sync::{Arc, HashMap, Lock, Mutex, mutex};

/// Addresses whose rate is remembered, in each of two generations.
const MAX_ADDRESSES: usize = 1 << 16;
/// A bucket that nobody has taken from for so long is full again, so it need not be remembered.
const GENERATION: Duration = Duration::from_secs(1);

pub(crate) struct AddressLimits {
    connections: Arc<Places<IpAddr>>,
    /// 0 is any number.
    requests_per_sec: u32,
    /// The lock is held for one look-up.
    rates: Mutex<Rates>,
    metrics: SharedMetrics,
    connections_log: LimitedLog,
    requests_log: LimitedLog,
}

impl AddressLimits {
    pub(crate) fn new(
        max_connections: usize,
        requests_per_sec: u32,
        metrics: SharedMetrics,
    ) -> Arc<AddressLimits> {
        Arc::new(AddressLimits {
            connections: Places::new(max_connections, Lock::AddressLimits),
            requests_per_sec,
            rates: mutex(Lock::AddressLimits, Rates::new(Instant::now())),
            metrics,
            connections_log: LimitedLog::new("connections refused for their address"),
            requests_log: LimitedLog::new("requests refused for their address"),
        })
    }

    /// A place for one more connection of this address, or the problem that says that there is none. Counted.
    pub(crate) fn take_place(&self, client: ClientAddress) -> Result<AddressPlace, Problem> {
        self.connections.take(&client.group()).map_err(|Full| {
            self.metrics.rejected.count("address");
            limited!(self.connections_log, info, "an address has all its connections: one more was refused", %client);
            too_many_connections()
        })
    }

    /// Whether this address may send one more request now. A refusal is counted.
    pub(crate) fn check_request(&self, client: ClientAddress) -> Result<(), Problem> {
        if self.requests_per_sec == 0 {
            return Ok(());
        }
        let mut rates = self.rates.lock();
        if rates.allow(client.group(), self.requests_per_sec, Instant::now()) {
            return Ok(());
        }
        drop(rates);
        self.metrics.request_rate_limited();
        limited!(self.requests_log, info, "an address sends too many requests: one was refused", %client);
        let detail = "More requests per second than one address may send";
        Err(Problem::rate_limited(detail))
    }
}

/// The response to a connection, or to a request behind a proxy, for which its address has no place.
pub(crate) fn too_many_connections() -> Problem {
    Problem::unavailable("This address has all the connections that one address may have")
}

/// The place of a connection.
pub(crate) type AddressPlace = Place<IpAddr>;

/// The buckets of the addresses that sent a request within the last two generations.
struct Rates {
    began: Instant,
    /// Used in this generation.
    young: HashMap<IpAddr, TokenBucket>,
    /// Used in the one before.
    old: HashMap<IpAddr, TokenBucket>,
    /// Of all addresses for which there is no room.
    others: Option<TokenBucket>,
}

impl Rates {
    fn new(now: Instant) -> Rates {
        Rates {
            began: now,
            young: HashMap::default(),
            old: HashMap::default(),
            others: None,
        }
    }

    fn allow(&mut self, address: IpAddr, per_sec: u32, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.began);
        if age >= GENERATION {
            self.began = now;
            self.old = std::mem::take(&mut self.young);
            if age >= 2 * GENERATION {
                self.old = HashMap::default();
            }
        }
        if let Some(bucket) = self.young.get_mut(&address) {
            return bucket.allow(now);
        }
        if self.young.len() >= MAX_ADDRESSES {
            let others = self
                .others
                .get_or_insert_with(|| TokenBucket::new(per_sec, now));
            return others.allow(now);
        }
        let remembered = self.old.remove(&address);
        let mut bucket = remembered.unwrap_or_else(|| TokenBucket::new(per_sec, now));
        let allowed = bucket.allow(now);
        self.young.insert(address, bucket);
        allowed
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    fn client(last: u8) -> ClientAddress {
        SocketAddr::from(([203, 0, 113, last], 1)).into()
    }

    #[test]
    fn places_of_an_address_are_given_back() {
        let limits = AddressLimits::new(2, 0, Arc::default());
        for _ in 0..3 {
            let first = limits.take_place(client(1)).ok().unwrap();
            let _second = limits.take_place(client(1)).ok().unwrap();
            assert!(limits.take_place(client(1)).is_err());
            let _other = limits.take_place(client(2)).ok().unwrap();
            drop(first);
            let _third = limits.take_place(client(1)).ok().unwrap();
        }
        assert!(limits.connections.are_free());
    }

    #[test]
    fn nothing_is_counted_without_a_limit() {
        let limits = AddressLimits::new(0, 0, Arc::default());
        let _places: Vec<_> = (0..100)
            .map(|_| limits.take_place(client(1)).ok())
            .collect();
        assert!(limits.connections.are_free());
        assert!((0..100).all(|_| limits.check_request(client(1)).is_ok()));
        assert!(limits.rates.lock().young.is_empty());
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn taken(rates: &mut Rates, address: u8, now: Instant) -> usize {
        let address = Ipv4Addr::new(203, 0, 113, address).into();
        (0..100).filter(|_| rates.allow(address, 10, now)).count()
    }

    #[test]
    fn each_address_has_a_bucket_of_its_own_across_generations() {
        let start = Instant::now();
        let mut rates = Rates::new(start);
        assert_eq!([1, 2].map(|n| taken(&mut rates, n, start)), [10, 10]);
        for n in 1..20 {
            let now = start + SECOND / 2 * n;
            assert_eq!(taken(&mut rates, 1, now), 5, "after {n} half seconds");
        }
        assert_eq!(taken(&mut rates, 2, start + 60 * SECOND), 10);
    }

    #[test]
    fn memory_is_bounded_and_addresses_without_room_share_one_bucket() {
        let start = Instant::now();
        let mut rates = Rates::new(start);
        let address = |n: usize| IpAddr::from((n as u32).to_be_bytes());
        let flood = |rates: &mut Rates, from: usize, now| {
            let many = from..from + 2 * MAX_ADDRESSES;
            many.filter(|n| rates.allow(address(*n), 10, now)).count()
        };
        assert_eq!(flood(&mut rates, 0, start), MAX_ADDRESSES + 10);
        assert_eq!(rates.young.len(), MAX_ADDRESSES);
        assert!(rates.allow(address(5), 10, start), "known before the flood");
        let later = start + SECOND;
        assert_eq!(flood(&mut rates, 1 << 24, later), MAX_ADDRESSES + 10);
        assert_eq!(
            (rates.young.len(), rates.old.len()),
            (MAX_ADDRESSES, MAX_ADDRESSES)
        );
        assert_eq!(taken(&mut rates, 1, later + 2 * SECOND), 10);
        assert_eq!((rates.young.len(), rates.old.len()), (1, 0));
    }
}
