//! Why a Redis cannot be used, as one line for people: what it answers when it cannot do what it is for, and what a connection
//! met when it failed.

use ::redis::{ErrorKind, RedisError, Value};
use parking_lot::Mutex;

use crate::sync::{AtomicBool, Ordering};

/// The code of an answer that says that Redis is full. It takes nothing more then, but gives and deletes.
const FULL: &str = "OOM";
/// What a node says of a Redis that is full.
pub(crate) const IS_FULL: &str =
    "Redis is out of memory (OOM): raise maxmemory, or delete topics or lower their history";

/// The codes of answers that count as if Redis were away, with what they mean and what helps.
const AWAY: [(&str, &str); 8] = [
    (
        "READONLY",
        "Redis takes no writes, because it is a replica (READONLY): the URL must lead to the primary",
    ),
    (
        "MISCONF",
        "Redis takes no writes, because it cannot save to its disk (MISCONF): look at its disk and its log",
    ),
    (
        "LOADING",
        "Redis is still loading its file (LOADING): wait until it is done",
    ),
    (
        "NOAUTH",
        "Redis wants a password (NOAUTH): put it into the URL",
    ),
    (
        "WRONGPASS",
        "Redis does not accept the user or password in the URL (WRONGPASS)",
    ),
    (
        "NOPERM",
        "Redis does not let its user do what a node must do (NOPERM): give it the rights in docs/cluster.md",
    ),
    (
        "NOREPLICAS",
        "Redis takes no writes, because too few replicas follow it (NOREPLICAS): start replicas, or lower min-replicas-to-write",
    ),
    (
        "MASTERDOWN",
        "Redis is a replica that has lost its primary (MASTERDOWN): the URL must lead to the primary",
    ),
];

/// What the connections to a Redis met since they were opened.
#[derive(Default)]
pub(crate) struct Failure {
    /// The first reason: what follows comes of it.
    reason: Mutex<Option<String>>,
    /// Redis has refused something because it is full.
    was_full: AtomicBool,
}

impl Failure {
    pub(crate) fn note(&self, reason: String) {
        self.reason.lock().get_or_insert(reason);
    }

    pub(crate) fn take(&self) -> Option<String> {
        self.reason.lock().take()
    }

    pub(crate) fn note_full(&self) {
        self.was_full.store(true, Ordering::Relaxed);
    }

    /// Whether Redis has refused something because it is full, since this was asked last.
    pub(crate) fn take_full(&self) -> bool {
        self.was_full.swap(false, Ordering::Relaxed)
    }
}

/// Whether Redis did not carry out a command because it is full.
pub(crate) fn is_full(answer: &Value) -> bool {
    has_code(answer, FULL)
}

/// The reason, if this answer says that Redis cannot do what it is for.
pub(crate) fn of_answer(answer: &Value) -> Option<String> {
    let Value::ServerError(error) = answer else {
        return None;
    };
    let (code, meaning) = AWAY.iter().find(|(code, _)| has_code(answer, code))?;
    Some(match (*code, error.details()) {
        // Which right is missing.
        ("NOPERM", Some(details)) => format!("{meaning}: {details}"),
        _ => (*meaning).to_owned(),
    })
}

/// The reason, if a command of a new connection failed with this error.
pub(crate) fn of_error(error: &RedisError) -> String {
    match error.code() {
        _ if error.kind() == ErrorKind::AuthenticationFailed => meaning("WRONGPASS"),
        Some(FULL) => Some(IS_FULL),
        Some(code) => meaning(code),
        None => None,
    }
    .map_or_else(|| error.to_string(), str::to_owned)
}

fn meaning(code: &str) -> Option<&'static str> {
    let known = AWAY.iter().find(|(known, _)| *known == code);
    known.map(|(_, meaning)| *meaning)
}

/// The reason, if an exchange with Redis failed with this error.
pub(crate) fn of_connection(error: &RedisError) -> String {
    match error.is_timeout() {
        true => "it does not answer in time".to_owned(),
        false => format!("a connection to it failed: {error}"),
    }
}

pub(crate) fn has_code(answer: &Value, code: &str) -> bool {
    match answer {
        Value::ServerError(error) => {
            // An error inside of a script has the code in its text, too.
            let details = error.details().unwrap_or_default();
            error.code() == code || details.contains(&format!("-{code} "))
        }
        _ => false,
    }
}
