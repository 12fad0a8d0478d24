//! A request and a response as the REST handlers see them: plain data, no socket.

use serde::Serialize;

use super::problem::Problem;

pub(crate) const JSON: &str = "application/json";
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// The header in which a handler says how large an event is that finds no room. It never leaves the server.
pub(crate) const WAIT_HEADER: &str = "x-threadcast-wait";
/// The header with the ticket of the place in the topic's line, when the request is asked again.
pub(crate) const PLACE_HEADER: &str = "x-threadcast-place";

/// A request that was read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// The method token as sent.
    pub(crate) method: String,
    /// The path, still percent-encoded, without the query.
    pub(crate) path: String,
    /// The query, still percent-encoded, without the `?`.
    pub(crate) query: Option<String>,
    /// Header fields in order, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) keep_alive: bool,
}

impl Request {
    /// The first value of a header; `name` is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.headers.iter();
        fields
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What a handler answers. Header values must never hold text that a client chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn json(status: u16, body: &impl Serialize) -> Response {
        match serde_json::to_vec(body) {
            Ok(body) => Response::new(status, JSON, body),
            Err(error) => {
                tracing::error!(%error, "a response could not be written as JSON");
                Response::problem(&Problem::internal())
            }
        }
    }

    pub(crate) fn problem(problem: &Problem) -> Response {
        // A struct of strings and numbers always becomes JSON.
        let body = serde_json::to_vec(problem).unwrap_or_default();
        let mut response = Response::new(problem.status, PROBLEM_JSON, body);
        response.headers.clone_from(&problem.headers);
        response
    }

    pub(crate) fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Response {
        Response {
            status,
            content_type,
            headers: Vec::new(),
            body,
        }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Response {
        self.headers.push((name, value.into()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_keeps_its_headers_as_a_response() {
        let problem = Problem::new(405, "METHOD_NOT_ALLOWED", "no").with_header("Allow", "GET");
        let response = Response::problem(&problem);
        assert_eq!(response.status, 405);
        assert_eq!(response.content_type, PROBLEM_JSON);
        assert_eq!(response.headers, [("Allow", "GET".to_owned())]);
    }

    #[test]
    fn a_header_of_a_request_is_found_by_its_lower_case_name() {
        let request = Request {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            query: None,
            headers: vec![("x-body-type".to_owned(), "json".to_owned())],
            body: Vec::new(),
            keep_alive: true,
        };
        assert_eq!(request.header("x-body-type"), Some("json"));
        assert_eq!(request.header("host"), None);
    }
}
