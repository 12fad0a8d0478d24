//! What a client is told when a request fails: problem details of RFC 9457.
//!
//! Owns the shape of the body. Never carries text from inside the server; `detail` is written for the client.

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use super::status::reason_phrase;

/// A refusal or failure, ready to be written as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Problem {
    pub(crate) fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            code,
            detail: detail.into(),
            headers: Vec::new(),
        }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Problem {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(400, "BAD_REQUEST", detail)
    }

    /// The same for no credential, a malformed and a wrong one: which it was is nobody's business.
    pub(crate) fn unauthorized() -> Problem {
        Problem::new(401, "UNAUTHORIZED", "A valid credential is required")
            .with_header("WWW-Authenticate", "Bearer")
    }

    pub(crate) fn is_unauthorized(&self) -> bool {
        self.status == 401
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(403, "FORBIDDEN", detail)
    }

    pub(crate) fn payload_too_large(limit_bytes: usize) -> Problem {
        let detail = format!("The body is larger than {limit_bytes} bytes");
        Problem::new(413, "PAYLOAD_TOO_LARGE", detail)
    }

    /// The rates of this server are per second, so a second later there is room.
    pub(crate) fn rate_limited(detail: impl Into<String>) -> Problem {
        Problem::new(429, "RATE_LIMITED", detail).with_header("Retry-After", "1")
    }

    pub(crate) fn request_timeout() -> Problem {
        Problem::new(
            408,
            "REQUEST_TIMEOUT",
            "The request was not received in time",
        )
    }

    pub(crate) fn internal() -> Problem {
        Problem::new(500, "INTERNAL", "The server failed to answer this request")
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Problem {
        Problem::new(503, "UNAVAILABLE", detail).with_header("Retry-After", "1")
    }

    pub(crate) fn shutting_down() -> Problem {
        Problem::new(503, "SHUTTING_DOWN", "The server is shutting down")
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut problem = serializer.serialize_struct("Problem", 5)?;
        problem.serialize_field("type", "about:blank")?;
        problem.serialize_field("title", reason_phrase(self.status))?;
        problem.serialize_field("status", &self.status)?;
        problem.serialize_field("detail", &self.detail)?;
        problem.serialize_field("code", self.code)?;
        problem.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_written_as_the_contract_shows_it() {
        let problem = Problem::new(409, "TOPIC_EXISTS", "Topic 'orders' already exists");
        let text = serde_json::to_string(&problem).unwrap();
        let expected = r#"{"type":"about:blank","title":"Conflict","status":409,"detail":"Topic 'orders' already exists","code":"TOPIC_EXISTS"}"#;
        assert_eq!(text, expected);
    }
}
