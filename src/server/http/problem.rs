//! Errors of REST requests: problem details of RFC 9457, and the reason phrases of all statuses.
//!
//! Owns the shape of the body. Never carries text from inside the server; `detail` is written for the client.

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

/// An error, ready to be written as `application/problem+json`.
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

    /// The same without a credential, with a malformed and with a wrong one, so that a client cannot probe for the cause.
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

/// The reason phrase of every status the server uses; `Unknown` for the others.
pub(crate) fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
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
