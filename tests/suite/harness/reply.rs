//! A parsed HTTP response with the checks common to all responses of a kind.

use serde_json::Value;

/// One response; for `HEAD` the body is empty.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The response at the start of `input` and its length, once it is complete.
    pub(super) fn parse(input: &[u8], to_head: bool) -> Option<(Reply, usize)> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut fields);
        let status = response.parse(input);
        let httparse::Status::Complete(head) = status.expect("a well-formed response head") else {
            return None;
        };
        let mut reply = Reply {
            status: response.code.expect("a parsed head has a status"),
            headers: response.headers.iter().map(owned).collect(),
            body: Vec::new(),
        };
        let length = head + if to_head { 0 } else { reply.body_length() };
        reply.body = input.get(head..length)?.to_vec();
        Some((reply, length))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn header_names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|(name, _)| name.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self}"))
    }

    /// Asserts the status and a JSON body, and returns the body.
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self}");
        let content_type = self.header("Content-Type").unwrap_or_default();
        assert!(content_type.starts_with("application/json"), "{self}");
        self.json()
    }

    /// Asserts a problem body (RFC 9457) with this status and code, and returns its detail.
    pub(crate) fn expect_problem(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{self}");
        assert_eq!(
            self.header("Content-Type"),
            Some("application/problem+json"),
            "{self}"
        );
        let problem = self.json();
        assert_eq!(problem["type"], "about:blank", "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["code"], code, "{problem}");
        assert!(problem["title"].is_string(), "{problem}");
        let detail = problem["detail"].as_str();
        detail
            .unwrap_or_else(|| panic!("no detail in {problem}"))
            .to_owned()
    }

    fn body_length(&self) -> usize {
        if self.status == 204 || self.status < 200 {
            return 0;
        }
        let length = self.header("Content-Length");
        let length = length.unwrap_or_else(|| panic!("no Content-Length in {self}"));
        length.parse().expect("Content-Length is a number")
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {:?} {}",
            self.status,
            self.headers,
            String::from_utf8_lossy(&self.body)
        )
    }
}

fn owned(header: &httparse::Header<'_>) -> (String, String) {
    let value = String::from_utf8_lossy(header.value).into_owned();
    (header.name.to_owned(), value)
}
