//! The header fields that frame a request: its host, its body, and whether the connection stays open.
//!
//! Pure. Refuses everything that two parsers could understand differently.

use super::authority::Authority;
use super::problem::Problem;
use super::request_line::Version;

/// Header fields in order, names in lower case.
pub(crate) type Fields = Vec<(String, String)>;

/// How the body of a request is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyLength {
    None,
    /// Never 0.
    Bytes(u64),
    Chunked,
}

pub(super) fn values<'a>(
    fields: &'a Fields,
    name: &'a str,
) -> impl DoubleEndedIterator<Item = &'a str> {
    let named = fields.iter().filter(move |(field, _)| field == name);
    named.map(|(_, value)| value.as_str())
}

/// Removes the white space of HTTP, which is less than that of Unicode.
pub(super) fn trim(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

/// The value of a field that may appear once at most.
fn single<'a>(fields: &'a Fields, name: &'a str) -> Result<Option<&'a str>, Problem> {
    let mut found = values(fields, name);
    match (found.next(), found.next()) {
        (value, None) => Ok(value),
        _ => Err(Problem::bad_request(format!("{name} must stand once"))),
    }
}

/// The one valid Host. Only HTTP/1.0 may omit it.
pub(super) fn host(fields: &Fields, version: Version) -> Result<Option<Authority>, Problem> {
    match (single(fields, "host")?, version) {
        (Some(host), _) => Authority::parse(host)
            .map(Some)
            .ok_or_else(|| Problem::bad_request("The Host header is malformed")),
        (None, Version::Http10) => Ok(None),
        (None, Version::Http11) => Err(Problem::bad_request("A Host header is required")),
    }
}

pub(super) fn body_length(fields: &Fields, version: Version) -> Result<BodyLength, Problem> {
    let length = single(fields, "content-length")?;
    let encoding = single(fields, "transfer-encoding")?;
    match (length, encoding) {
        (None, None) => Ok(BodyLength::None),
        (Some(length), None) => content_length(length),
        (None, Some(encoding)) => transfer_encoding(encoding, version),
        (Some(_), Some(_)) => Err(Problem::bad_request(
            "Content-Length and Transfer-Encoding exclude each other",
        )),
    }
}

fn content_length(value: &str) -> Result<BodyLength, Problem> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::bad_request("Content-Length must be a number"));
    }
    Ok(match value.parse() {
        Ok(0) => BodyLength::None,
        Ok(length) => BodyLength::Bytes(length),
        // The number does not fit into a u64, so it exceeds every limit.
        Err(_) => BodyLength::Bytes(u64::MAX),
    })
}

fn transfer_encoding(value: &str, version: Version) -> Result<BodyLength, Problem> {
    if version == Version::Http10 {
        let detail = "HTTP/1.0 has no Transfer-Encoding";
        return Err(Problem::bad_request(detail));
    }
    if value.eq_ignore_ascii_case("chunked") {
        return Ok(BodyLength::Chunked);
    }
    let detail = "The only Transfer-Encoding understood is chunked, once";
    let mut codings = value.split(',').map(trim);
    if value.is_empty() || codings.all(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return Err(Problem::bad_request(detail));
    }
    Err(Problem::new(501, "NOT_IMPLEMENTED", detail))
}

/// Whether the client waits for `100 Continue`; any other expectation is refused.
pub(super) fn expects_continue(fields: &Fields, version: Version) -> Result<bool, Problem> {
    if version == Version::Http10 {
        return Ok(false);
    }
    let mut expectations = values(fields, "expect").peekable();
    let expects = expectations.peek().is_some();
    if expectations.all(|value| value.eq_ignore_ascii_case("100-continue")) {
        return Ok(expects);
    }
    let detail = "The only expectation understood is 100-continue";
    Err(Problem::new(417, "EXPECTATION_FAILED", detail))
}

/// A connection of HTTP/1.1 stays open unless the client asks to close it; one of HTTP/1.0 never does.
pub(super) fn keep_alive(fields: &Fields, version: Version) -> bool {
    let mut options = values(fields, "connection").flat_map(|value| value.split(','));
    version == Version::Http11 && !options.any(|option| trim(option).eq_ignore_ascii_case("close"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Version::{Http10, Http11};

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        pairs.iter().map(owned).collect()
    }

    fn length(pairs: &[(&str, &str)]) -> Result<BodyLength, u16> {
        body_length(&fields(pairs), Http11).map_err(|problem| problem.status)
    }

    #[test]
    fn one_length_of_plain_digits_counts() {
        assert_eq!(length(&[]), Ok(BodyLength::None));
        assert_eq!(length(&[("content-length", "0")]), Ok(BodyLength::None));
        assert_eq!(
            length(&[("content-length", "0012")]),
            Ok(BodyLength::Bytes(12))
        );
        let huge = "99999999999999999999999999";
        assert_eq!(
            length(&[("content-length", huge)]),
            Ok(BodyLength::Bytes(u64::MAX))
        );
    }

    #[test]
    fn any_other_length_is_400() {
        for value in ["", "-1", "+1", "1a", "0x1", "1, 1", "1 1", "1.0", "١"] {
            assert_eq!(length(&[("content-length", value)]), Err(400), "{value}");
        }
        let twice = [("content-length", "1"), ("content-length", "1")];
        assert_eq!(length(&twice), Err(400));
        let both = [("content-length", "1"), ("transfer-encoding", "chunked")];
        assert_eq!(length(&both), Err(400));
    }

    #[test]
    fn chunked_alone_is_understood() {
        assert_eq!(
            length(&[("transfer-encoding", "Chunked")]),
            Ok(BodyLength::Chunked)
        );
        for value in [
            "foo",
            "identity",
            "gzip, chunked",
            "chunked, gzip",
            "xchunked",
            "chunked;q=1",
            "\u{b}chunked",
        ] {
            assert_eq!(length(&[("transfer-encoding", value)]), Err(501), "{value}");
        }
        assert_eq!(
            length(&[("transfer-encoding", "chunked, chunked")]),
            Err(400)
        );
        assert_eq!(length(&[("transfer-encoding", "")]), Err(400));
        let twice = [
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ];
        assert_eq!(length(&twice), Err(400));
        let old = body_length(&fields(&twice[..1]), Http10).unwrap_err();
        assert_eq!(old.status, 400);
    }

    #[test]
    fn http_1_1_demands_one_valid_host() {
        let check = |pairs: &[(&str, &str)], version| host(&fields(pairs), version).is_ok();
        assert!(check(&[("host", "a:1")], Http11));
        assert!(!check(&[], Http11));
        assert!(check(&[], Http10));
        for version in [Http10, Http11] {
            assert!(!check(&[("host", "a"), ("host", "a")], version));
            assert!(!check(&[("host", "")], version));
            assert!(!check(&[("host", "a, b")], version));
            assert!(!check(&[("host", "a/b")], version));
        }
    }

    #[test]
    fn only_100_continue_may_be_expected() {
        let expect = |value: &str| {
            let result = expects_continue(&fields(&[("expect", value)]), Http11);
            result.map_err(|problem| problem.status)
        };
        assert_eq!(expect("100-Continue"), Ok(true));
        for value in ["", "200-ok", "100-continue, x", "100-continue;a=b"] {
            assert_eq!(expect(value), Err(417), "{value}");
        }
        assert!(!expects_continue(&fields(&[]), Http11).unwrap());
        assert!(!expects_continue(&fields(&[("expect", "100-continue")]), Http10).unwrap());
    }

    #[test]
    fn a_connection_is_kept_unless_somebody_says_close() {
        let kept = |value: &str, version| keep_alive(&fields(&[("connection", value)]), version);
        assert!(kept("keep-alive", Http11));
        assert!(kept("closed", Http11));
        assert!(kept("\u{a0}close", Http11));
        assert!(!kept("Close", Http11));
        assert!(!kept("upgrade , CLOSE", Http11));
        assert!(!kept("keep-alive", Http10));
        assert!(keep_alive(&fields(&[]), Http11));
    }
}
