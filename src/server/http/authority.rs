//! `host[:port]` of a Host header, an absolute target or an Origin.

use std::net::Ipv6Addr;

/// A host in its normal form (lower case, IPv6 shortened), and the port if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    /// `None` for anything but a host with an optional port: no user info, no path, no zone.
    pub(crate) fn parse(text: &str) -> Option<Authority> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(literal) => split_ipv6(literal)?,
            None => split_name(text)?,
        };
        let port = match rest.strip_prefix(':') {
            Some(digits) => parse_port(digits)?,
            None if rest.is_empty() => None,
            None => return None,
        };
        Some(Authority { host, port })
    }

    /// Whether both name the same host and port. A missing port means `default_port`.
    pub(crate) fn same_place(&self, other: &Authority, default_port: Option<u16>) -> bool {
        self.host == other.host && self.port.or(default_port) == other.port.or(default_port)
    }
}

fn split_ipv6(literal: &str) -> Option<(String, &str)> {
    let (address, rest) = literal.split_once(']')?;
    let address: Ipv6Addr = address.parse().ok()?;
    Some((format!("[{address}]"), rest))
}

fn split_name(text: &str) -> Option<(String, &str)> {
    let end = text.find(':').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let valid = !name.is_empty() && name.bytes().all(is_name_byte);
    valid.then(|| (name.to_ascii_lowercase(), rest))
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~')
}

/// An empty port means the same as a missing one (RFC 3986 §3.2.3).
fn parse_port(digits: &str) -> Option<Option<u16>> {
    if digits.is_empty() {
        return Some(None);
    }
    let valid = digits.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| digits.parse().ok()).flatten().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_and_without_port_are_read() {
        for text in [
            "localhost",
            "LOCALHOST:8080",
            "a_b.c-d",
            "127.0.0.1:0",
            "[::1]",
            "[::1]:80",
            "h:",
        ] {
            assert!(Authority::parse(text).is_some(), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            ":80",
            "a b",
            "a,b",
            "user@host",
            "host/path",
            "host?q",
            "host#f",
            "h:+80",
            "h:65536",
            "h:8a",
            "h:80:80",
            "::1",
            "[::1",
            "[::1]x",
            "[fe80::1%25eth0]",
            "[v1.a]",
            "é",
            "a%41",
        ] {
            assert!(Authority::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn case_ipv6_spelling_and_default_port_do_not_matter() {
        let same = |a: &str, b: &str, port| {
            let (a, b) = (Authority::parse(a).unwrap(), Authority::parse(b).unwrap());
            a.same_place(&b, port)
        };
        assert!(same("Localhost", "localhost:80", Some(80)));
        assert!(same("[0:0:0:0:0:0:0:1]", "[::1]", None));
        assert!(!same("localhost", "localhost:80", Some(443)));
        assert!(!same("localhost", "localhost:80", None));
        assert!(!same("localhost", "localhost.", Some(80)));
    }
}
