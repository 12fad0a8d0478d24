//! The addresses of the servers of a client: their order, and which one works now. No I/O.
//!
//! They form a ring. A new connection starts at the address that answered last, and goes on to the next one when an attempt
//! fails. An open connection stays where it is.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::address::Address;
use super::{Error, FailedAttempt};

/// One or more addresses, each once, in the order in which they were given.
pub(super) struct Addresses {
    ring: Vec<Address>,
    /// The index of the address that answered last; the first one before that.
    working: AtomicUsize,
}

/// A place in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(usize);

/// Why an attempt at one address failed.
#[derive(Debug)]
pub(super) enum AddressError {
    /// Another server may answer.
    TryNext(Error),
    /// Every server would answer this, or must not be asked again.
    Final(Error),
}

impl AddressError {
    /// A temporary error is one of this server.
    pub(super) fn of(error: Error) -> AddressError {
        match error.is_temporary() {
            true => AddressError::TryNext(error),
            false => AddressError::Final(error),
        }
    }
}

impl Addresses {
    pub(super) fn count(&self) -> usize {
        self.ring.len()
    }

    pub(super) fn at(&self, place: Place) -> &Address {
        &self.ring[place.0]
    }

    /// Where a new connection starts.
    pub(super) fn working(&self) -> Place {
        Place(self.working.load(Ordering::Relaxed))
    }

    /// The server at this place has answered.
    pub(super) fn note_working(&self, place: Place) {
        self.working.store(place.0, Ordering::Relaxed);
    }

    /// The next place; the same one if there is only one.
    pub(super) fn after(&self, place: Place) -> Place {
        Place((place.0 + 1) % self.ring.len())
    }

    /// The share of one address in a timeout for all of them.
    pub(super) fn share(&self, timeout: Duration) -> Duration {
        timeout / u32::try_from(self.ring.len()).unwrap_or(u32::MAX)
    }

    /// Calls `attempt` with each place and the number of untried ones, itself included, until one does not fail. Starts where
    /// it works now.
    pub(super) fn try_each<T>(
        &self,
        mut attempt: impl FnMut(Place, usize) -> Result<T, AddressError>,
    ) -> Result<T, Error> {
        let mut place = self.working();
        let mut attempts = Vec::new();
        for untried in (1..=self.count()).rev() {
            match attempt(place, untried) {
                Ok(value) => return Ok(value),
                Err(AddressError::Final(error)) => return Err(error),
                Err(AddressError::TryNext(error)) if self.count() == 1 => return Err(error),
                Err(AddressError::TryNext(error)) => attempts.push(FailedAttempt {
                    address: self.at(place).to_string(),
                    error,
                }),
            }
            place = self.after(place);
        }
        Err(Error::NoServer { attempts })
    }
}

/// Until when one of the untried addresses may take, if all of them have to the deadline.
pub(super) fn fair_deadline(deadline: Instant, untried: usize) -> Instant {
    let now = Instant::now();
    let left = deadline.saturating_duration_since(now);
    now + left / u32::try_from(untried.max(1)).unwrap_or(u32::MAX)
}

impl FromStr for Addresses {
    type Err = Error;

    /// Parses addresses that are separated by commas.
    fn from_str(urls: &str) -> Result<Addresses, Error> {
        let urls: Vec<&str> = urls.split(',').map(str::trim).collect();
        let mut ring: Vec<Address> = Vec::new();
        for (index, url) in urls.iter().enumerate() {
            let address = url.parse();
            let address = address.map_err(|error| numbered(error, index + 1, urls.len()))?;
            if !ring.contains(&address) {
                ring.push(address);
            }
        }
        Ok(Addresses {
            ring,
            working: AtomicUsize::new(0),
        })
    }
}

/// Names one of several addresses by its number, since its text may contain a key.
fn numbered(error: Error, number: usize, count: usize) -> Error {
    match error {
        Error::Invalid { reason } if count > 1 => {
            let reason = reason.strip_prefix("url: ").unwrap_or(&reason);
            Error::invalid(format!("url: address {number} of {count}: {reason}"))
        }
        other => other,
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.ring).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(urls: &str) -> Addresses {
        urls.parse().expect(urls)
    }

    fn tried(addresses: &Addresses, works: &str) -> (Vec<String>, Result<(), Error>) {
        let mut tried = Vec::new();
        let result = addresses.try_each(|place, untried| {
            assert_eq!(untried, addresses.count() - tried.len());
            tried.push(addresses.at(place).to_string());
            if tried.last().is_some_and(|last| last != works) {
                return Err(AddressError::TryNext(Error::lost(None, "down")));
            }
            addresses.note_working(place);
            Ok(())
        });
        (tried, result)
    }

    #[test]
    fn each_address_is_kept_once_in_its_order() {
        let several = addresses("ws://b:1/ws, http://a:1 ,b:1,ws://a:2");
        let texts: Vec<_> = several.ring.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["b:1", "a:1", "a:2"]);
        assert_eq!(addresses("a:1,a:1").count(), 1);
    }

    #[test]
    fn wrong_one_of_several_is_named_by_its_number() {
        let error = |urls: &str| urls.parse::<Addresses>().expect_err(urls).to_string();
        let expected = "expected something like ws://127.0.0.1:8080/ws";
        assert_eq!(error("ftp://a"), format!("url: {expected}"));
        for (urls, number) in [
            ("a:1,ftp://b,c:1", 2),
            ("a:1,b:1,", 3),
            (",a:1,b:1", 1),
            ("a:1,b:0,c:0", 2),
        ] {
            let text = format!("url: address {number} of 3: {expected}");
            assert_eq!(error(urls), text, "{urls}");
        }
        assert!(!error("a:1,ws://b/ws?token=s3cret").contains("s3cret"));
    }

    #[test]
    fn each_is_tried_once_from_the_working_one_on() {
        let several = addresses("a:1,b:1,c:1");
        let (order, result) = tried(&several, "b:1");
        assert!(result.is_ok());
        assert_eq!(order, ["a:1", "b:1"]);
        let (order, result) = tried(&several, "none");
        assert_eq!(order, ["b:1", "c:1", "a:1"], "it begins where it worked");
        let error = result.expect_err("all are down");
        assert!(error.is_temporary());
        assert_eq!(
            error.to_string(),
            "none of the 3 servers can be used: b:1: the connection was lost: down; \
             c:1: the connection was lost: down; a:1: the connection was lost: down"
        );
    }

    #[test]
    fn final_error_and_that_of_a_single_address_are_returned_as_they_are() {
        let several = addresses("a:1,b:1");
        let mut count = 0;
        let result: Result<(), _> = several.try_each(|_, _| {
            count += 1;
            Err(AddressError::of(Error::refused("FORBIDDEN", "")))
        });
        assert_eq!(result.expect_err("refused").code(), Some("FORBIDDEN"));
        assert_eq!(count, 1);
        let (_, result) = tried(&addresses("a:1"), "none");
        assert!(matches!(result, Err(Error::Lost { .. })));
    }

    #[test]
    fn timeout_is_divided_among_the_addresses() {
        let second = Duration::from_secs(1);
        assert_eq!(addresses("a:1").share(second), second);
        assert_eq!(addresses("a:1,b:1").share(second), second / 2);
        let deadline = Instant::now() + second;
        assert!(fair_deadline(deadline, 1) <= deadline + Duration::from_millis(1));
        assert!(fair_deadline(deadline, 2) < deadline);
    }
}
