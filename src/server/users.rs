//! How many WebSockets and event streams each user has, so that none has more than it may.

use crate::protocol::UserName;
use crate::sync::{Arc, HashMap, Lock, Mutex, mutex};

/// The users that have a connection.
pub(super) struct Users {
    /// The most connections of one user; 0 is any number.
    max: usize,
    /// Held for one look; no other lock is taken under it.
    counts: Mutex<HashMap<UserName, usize>>,
}

/// The place of one connection. Dropping it frees the place.
pub(super) struct UserPlace {
    users: Arc<Users>,
    user: UserName,
}

/// The user has as many connections as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany;

impl Users {
    pub(super) fn new(max: usize) -> Arc<Users> {
        Arc::new(Users {
            max,
            counts: mutex(Lock::Users, HashMap::default()),
        })
    }

    /// A place for a further connection; `None` where nobody counts, because there is no limit or no user.
    pub(super) fn admit(
        self: &Arc<Users>,
        user: Option<&UserName>,
    ) -> Result<Option<UserPlace>, TooMany> {
        let Some(user) = user.filter(|_| self.max > 0) else {
            return Ok(None);
        };
        let mut counts = self.counts.lock();
        let count = counts.entry(user.clone()).or_default();
        // An entry is never 0 for longer than this.
        if *count >= self.max {
            return Err(TooMany);
        }
        *count += 1;
        drop(counts);
        Ok(Some(UserPlace {
            users: Arc::clone(self),
            user: user.clone(),
        }))
    }
}

impl Drop for UserPlace {
    fn drop(&mut self) {
        let mut counts = self.users.counts.lock();
        let left = counts.get_mut(&self.user).map(|count| {
            *count -= 1;
            *count
        });
        if left == Some(0) {
            counts.remove(&self.user);
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn user(name: &str) -> UserName {
        UserName::new(name).expect("a name")
    }

    #[test]
    fn each_user_has_as_many_places_as_it_may_and_gets_them_back() {
        let users = Users::new(2);
        let (ann, bob) = (user("ann"), user("bob"));
        let first = users.admit(Some(&ann)).expect("a place");
        let second = users.admit(Some(&ann)).expect("a place");
        assert!(users.admit(Some(&ann)).is_err());
        assert!(users.admit(Some(&bob)).is_ok(), "another user");
        assert!(users.admit(None).expect("no count").is_none(), "no user");
        drop(first);
        let third = users.admit(Some(&ann)).expect("a place");
        assert!(third.is_some() && users.admit(Some(&ann)).is_err());
        drop((second, third));
        assert!(users.counts.lock().is_empty());
    }

    #[test]
    fn without_a_limit_nobody_is_counted() {
        let users = Users::new(0);
        assert!(users.admit(Some(&user("ann"))).expect("a place").is_none());
        assert!(users.counts.lock().is_empty());
    }
}
