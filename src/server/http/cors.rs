//! CORS: which responses pages of other origins may read, and the answers to their preflights. Pure.
//!
//! Only listed origins get these headers: a page of the server's own host needs none. No credentials of the browser are
//! allowed: the server knows no cookies.

use super::head::Head;
use super::origin;
use super::problem::Problem;
use super::response::Response;

/// Headers with which a page may send its requests.
const ALLOWED_HEADERS: &str = "Authorization, Content-Type, Last-Event-ID, X-API-Key";
/// Headers that a page may read besides those that it always may.
const EXPOSED_HEADERS: &str = "Retry-After";
/// How long a browser may remember the answer to a preflight. Seconds.
const MAX_AGE: &str = "600";
/// Stands for any origin, in the setting as in the header.
const ANY: &str = "*";

/// What the page that sent a request may read of its response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cors {
    /// The value of `Access-Control-Allow-Origin`, for a listed origin.
    allowed_origin: Option<String>,
}

impl Cors {
    pub(crate) fn of(head: &Head, listed: &[String]) -> Cors {
        let origins: Vec<&str> = head.values("origin").collect();
        Cors::of_origins(&origins, listed)
    }

    /// For a head that was refused: looks at the fields that arrived whole.
    pub(crate) fn of_refused_head(received: &[u8], listed: &[String]) -> Cors {
        let origins: Vec<&str> = whole_fields(received)
            .filter(|(name, _)| name.eq_ignore_ascii_case("origin"))
            .map(|(_, value)| value)
            .collect();
        Cors::of_origins(&origins, listed)
    }

    fn of_origins(origins: &[&str], listed: &[String]) -> Cors {
        let allowed_origin = match origins {
            [origin] if origin::is_listed(origin, listed) => {
                Some(if listed.iter().any(|entry| entry == ANY) {
                    ANY.to_owned()
                } else {
                    (*origin).to_owned()
                })
            }
            _ => None,
        };
        Cors { allowed_origin }
    }

    /// Whether the origin is listed.
    pub(crate) fn is_allowed(&self) -> bool {
        self.allowed_origin.is_some()
    }

    /// What every response to a listed origin has.
    fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let headers = self.allowed_origin.iter().map(|origin| {
            [
                ("Access-Control-Allow-Origin", origin.as_str()),
                ("Access-Control-Expose-Headers", EXPOSED_HEADERS),
                // Also with `*`: a request without an origin gets none of these headers.
                ("Vary", "Origin"),
            ]
        });
        headers.flatten()
    }

    /// Adds the headers to a response.
    pub(crate) fn add_to(&self, response: &mut Response) {
        self.headers()
            .for_each(|(name, value)| response.add_header(name, value));
    }

    /// Adds the headers to a problem.
    pub(crate) fn on_problem(&self, problem: Problem) -> Problem {
        self.headers().fold(problem, |problem, (name, value)| {
            problem.with_header(name, value)
        })
    }

    /// Whether the request asks, for a page, if another one may be sent.
    pub(crate) fn is_preflight(head: &Head) -> bool {
        head.method == "OPTIONS"
            && head.header("origin").is_some()
            && head.header("access-control-request-method").is_some()
    }

    /// The answer to a preflight of a listed origin.
    pub(crate) fn preflight(methods: &'static str) -> Response {
        Response::empty(204)
            .with_header("Access-Control-Allow-Methods", methods)
            .with_header("Access-Control-Allow-Headers", ALLOWED_HEADERS)
            .with_header("Access-Control-Max-Age", MAX_AGE)
    }
}

/// The fields of an incomplete or malformed head, up to the last complete line before its end.
fn whole_fields(received: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let mut lines = received.split_inclusive(|byte| *byte == b'\n').skip(1);
    std::iter::from_fn(move || {
        loop {
            let line = lines.next()?.strip_suffix(b"\r\n")?;
            if line.is_empty() {
                return None;
            }
            let field = std::str::from_utf8(line)
                .ok()
                .and_then(|line| line.split_once(':'));
            if let Some((name, value)) = field {
                return Some((name, value.trim_matches([' ', '\t'])));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::http::head;
    use proptest::prelude::*;

    const LISTED: &str = "https://shop.example";

    fn listed(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|&entry| entry.to_owned()).collect()
    }

    fn of(fields: &str, entries: &[&str]) -> Option<String> {
        let text = format!("GET / HTTP/1.1\r\nHost: localhost:8080\r\n{fields}\r\n");
        let (head, _) = head::parse(text.as_bytes()).unwrap().unwrap();
        let cors = Cors::of(&head, &listed(entries));
        let refused = Cors::of_refused_head(text.as_bytes(), &listed(entries));
        assert_eq!(cors, refused, "{fields}");
        cors.allowed_origin
    }

    #[test]
    fn listed_origin_is_named_as_it_was_sent() {
        for origin in ["https://shop.example", "HTTPS://Shop.example:443"] {
            let field = format!("Origin: {origin}\r\n");
            assert_eq!(of(&field, &[LISTED]).as_deref(), Some(origin));
        }
        assert_eq!(of("Origin: null\r\n", &["*"]).as_deref(), Some("*"));
        let both = of("Origin: https://shop.example\r\n", &[LISTED, "*"]);
        assert_eq!(both.as_deref(), Some("*"));
    }

    #[test]
    fn any_other_origin_gets_nothing() {
        for (fields, entries) in [
            ("", &[LISTED][..]),
            ("", &["*"]),
            ("Origin: http://localhost:8080\r\n", &[LISTED]),
            ("Origin: http://localhost:8080\r\n", &[]),
            ("Origin: http://shop.example\r\n", &[LISTED]),
            ("Origin: null\r\n", &[LISTED]),
            (
                "Origin: https://shop.example\r\nOrigin: https://shop.example\r\n",
                &["*"],
            ),
        ] {
            assert_eq!(of(fields, entries), None, "{fields}");
        }
    }

    #[test]
    fn refused_head_has_the_fields_of_its_whole_lines() {
        let of = |received: &str| {
            let cors = Cors::of_refused_head(received.as_bytes(), &listed(&[LISTED]));
            cors.is_allowed()
        };
        let field = "Origin: https://shop.example\r\n";
        assert!(of(&format!("GET / HTTP/1.1\r\n{field}")));
        assert!(of(&format!("GET /\r\nnonsense\r\n{field}X: \0")));
        assert!(of(&format!("GET / HTTP/1.1\r\n{field}Host: \r\n\r\n")));
        for none in [
            String::new(),
            field.to_owned(),
            "GET / HTTP/1.1\r\nOrigin: https://shop.example".to_owned(),
            "GET / HTTP/1.1\r\nOrigin: https://shop.example\n".to_owned(),
            format!("GET / HTTP/1.1\r\n{field}{field}"),
            format!("GET / HTTP/1.1\r\n\r\n{field}"),
            format!("GET / HTTP/1.1\nHost: a\n{field}"),
        ] {
            assert!(!of(&none), "{none:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(received in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Cors::of_refused_head(&received, &listed(&["*"]));
        }
    }
}
