//! The first line of a request: method, target, version, and nothing else.

use super::authority::Authority;
use super::problem::Problem;

pub(crate) const MAX_TARGET_BYTES: usize = 4 * 1024;

/// The versions that are served. 1.0 gets one response per connection and no WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    Http11,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestLine {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) version: Version,
}

/// Parses the line without its CRLF.
pub(super) fn parse(line: &[u8]) -> Result<RequestLine, Problem> {
    let malformed = || Problem::bad_request("The request line is malformed");
    let line = std::str::from_utf8(line).map_err(|_| malformed())?;
    let mut parts = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed());
    };
    let version = parse_version(version)?;
    if !is_token(method) || target.is_empty() || !target.bytes().all(is_target_byte) {
        return Err(malformed());
    }
    if target.len() > MAX_TARGET_BYTES {
        return Err(target_too_long());
    }
    Ok(RequestLine {
        method: method.to_owned(),
        target: target.to_owned(),
        version,
    })
}

pub(super) fn target_too_long() -> Problem {
    let detail = format!("The request target is longer than {MAX_TARGET_BYTES} bytes");
    Problem::new(414, "URI_TOO_LONG", detail)
}

fn parse_version(text: &str) -> Result<Version, Problem> {
    match text {
        "HTTP/1.1" => Ok(Version::Http11),
        "HTTP/1.0" => Ok(Version::Http10),
        other if is_foreign_version(other) => Err(Problem::new(
            505,
            "HTTP_VERSION_NOT_SUPPORTED",
            "This server speaks HTTP/1.1",
        )),
        _ => Err(Problem::bad_request("The HTTP version is malformed")),
    }
}

/// `HTTP/2`, `HTTP/2.0`, `HTTP/1.2` and their like.
fn is_foreign_version(text: &str) -> bool {
    let Some(number) = text.strip_prefix("HTTP/") else {
        return false;
    };
    match number.as_bytes() {
        [major] => matches!(major, b'1'..=b'9'),
        [major, b'.', minor] => matches!(major, b'1'..=b'9') && minor.is_ascii_digit(),
        _ => false,
    }
}

/// A token of RFC 9110 §5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Visible ASCII. A fragment is never part of a target.
fn is_target_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

/// The parts of a target.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Only in the absolute form, with the default port of its scheme.
    pub(super) authority: Option<(Authority, u16)>,
    pub(super) path: String,
    pub(super) query: Option<String>,
}

/// Accepts the origin form, the absolute form, and the `*` of OPTIONS. `host:port` names nothing that is served here.
pub(super) fn split_target(method: &str, target: &str) -> Result<Target, Problem> {
    if target.starts_with('/') || (method, target) == ("OPTIONS", "*") {
        return Ok(with_path(None, target));
    }
    let malformed = || Problem::bad_request("The request target is malformed");
    let (scheme, rest) = target.split_once("://").ok_or_else(malformed)?;
    let default_port = match scheme {
        http if http.eq_ignore_ascii_case("http") => 80,
        https if https.eq_ignore_ascii_case("https") => 443,
        _ => return Err(malformed()),
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = Authority::parse(authority).ok_or_else(malformed)?;
    Ok(with_path(Some((authority, default_port)), path))
}

fn with_path(authority: Option<(Authority, u16)>, path_and_query: &str) -> Target {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (path_and_query, None),
    };
    let path = if path.is_empty() { "/" } else { path };
    Target {
        authority,
        path: path.to_owned(),
        query,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(line: &str) -> u16 {
        parse(line.as_bytes()).unwrap_err().status
    }

    #[test]
    fn a_request_line_has_three_parts() {
        let line = parse(b"GET /topics?x=1 HTTP/1.1").unwrap();
        assert_eq!(
            (line.method.as_str(), line.target.as_str()),
            ("GET", "/topics?x=1")
        );
        assert_eq!(line.version, Version::Http11);
        assert_eq!(parse(b"GET / HTTP/1.0").unwrap().version, Version::Http10);
    }

    #[test]
    fn malformed_lines_are_400() {
        for line in [
            "",
            "GET",
            "GET /",
            "GET  / HTTP/1.1",
            " GET / HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET / x HTTP/1.1",
            "G@T / HTTP/1.1",
            "GET /a#b HTTP/1.1",
            "GET / http/1.1",
            "GET / HTTP/0.9",
            "GET / HTTP/1.10",
            "GET / HTTP/11",
            "GET / HTTP/1,1",
            "GET /é HTTP/1.1",
            "GET /\u{1} HTTP/1.1",
            "SSH-2.0-OpenSSH_9",
        ] {
            assert_eq!(status(line), 400, "{line:?}");
        }
        assert!(parse(b"GET /\xff HTTP/1.1").is_err());
    }

    #[test]
    fn foreign_versions_are_505() {
        for version in ["HTTP/2.0", "HTTP/2", "HTTP/3.0", "HTTP/1.2", "HTTP/9.9"] {
            assert_eq!(status(&format!("GET / {version}")), 505, "{version}");
        }
        assert_eq!(status("PRI * HTTP/2.0"), 505);
    }

    #[test]
    fn a_target_may_have_4_kib_and_not_a_byte_more() {
        let target = |length: usize| format!("GET /{} HTTP/1.1", "a".repeat(length - 1));
        assert!(parse(target(MAX_TARGET_BYTES).as_bytes()).is_ok());
        assert_eq!(status(&target(MAX_TARGET_BYTES + 1)), 414);
    }

    #[test]
    fn both_forms_of_a_target_lead_to_a_path() {
        let origin_form = split_target("GET", "/a%20b?c=d?e").unwrap();
        assert_eq!(origin_form.path, "/a%20b");
        assert_eq!(origin_form.query.as_deref(), Some("c=d?e"));
        let absolute = split_target("GET", "HTTP://Host:1/p?q").unwrap();
        assert_eq!(absolute.path, "/p");
        assert!(absolute.authority.is_some());
        assert_eq!(split_target("GET", "http://host").unwrap().path, "/");
        assert_eq!(split_target("OPTIONS", "*").unwrap().path, "*");
        assert_eq!(
            split_target("GET", "http://host?q")
                .unwrap()
                .query
                .as_deref(),
            Some("q")
        );
    }

    #[test]
    fn other_targets_are_400() {
        for target in [
            "*",
            "**",
            "*?q",
            "*/",
            "host:443",
            "ftp://host/",
            "http:///path",
            "http://u@host/",
            "topics",
            "?q",
        ] {
            for method in ["GET", "options", "OPTIONS"] {
                if (method, target) != ("OPTIONS", "*") {
                    let refused = split_target(method, target).unwrap_err();
                    assert_eq!(refused.status, 400, "{method} {target}");
                }
            }
        }
    }
}
