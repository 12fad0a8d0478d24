//! The head of a request: its fields are parsed by httparse and checked strictly against HTTP/1.1.
//!
//! Pure. A [`Head`] that exists has passed every check, so nothing later looks at the bytes again.

use std::fmt;

use super::authority::Authority;
use super::fields::{self, BodyLength, Fields};
use super::problem::Problem;
use super::request_line::{self, RequestLine, Version};
use super::scan::{HeadScanner, MAX_HEADERS};

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// The method token as sent; case matters.
    pub(crate) method: String,
    /// Still percent-encoded; begins with `/`, or is the `*` of OPTIONS.
    pub(crate) path: String,
    /// Still percent-encoded, without the `?`.
    pub(crate) query: Option<String>,
    pub(crate) version: Version,
    /// In order, names in lower case; bytes above 127 of a value stand as Latin-1.
    pub(crate) headers: Fields,
    pub(crate) body: BodyLength,
    pub(crate) expects_continue: bool,
    pub(crate) keep_alive: bool,
}

impl Head {
    /// The first value of a header; `name` is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }

    /// Every value of a header; `name` is in lower case.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a str> {
        fields::values(&self.headers, name)
    }

    /// Whether only the head of the response is wanted.
    pub(crate) fn is_for_head(&self) -> bool {
        self.method == "HEAD"
    }
}

/// Without the query and the values of fields, which may be secrets.
impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Head")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("fields", &names)
            .finish_non_exhaustive()
    }
}

/// Parses the head at the front of `buffer`; returns it with its length, or `None` while it is incomplete.
#[cfg(any(test, fuzzing))]
pub(crate) fn parse(buffer: &[u8]) -> Result<Option<(Head, usize)>, Problem> {
    let mut scanner = HeadScanner::default();
    match scanner.advance(buffer)? {
        Some(length) => Ok(Some((parse_scanned(buffer, scanner, length)?, length))),
        None => Ok(None),
    }
}

/// Parses a head whose end the scanner has found at `length`.
pub(super) fn parse_scanned(
    buffer: &[u8],
    scanner: HeadScanner,
    length: usize,
) -> Result<Head, Problem> {
    let malformed = || Problem::bad_request("The head is malformed");
    let (line, start) = scanner.into_request_line().ok_or_else(malformed)?;
    let bytes = buffer.get(start..length).ok_or_else(malformed)?;
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    match httparse::parse_headers(bytes, &mut headers) {
        Ok(httparse::Status::Complete((end, headers))) if end == bytes.len() => {
            build(line, own(headers)?)
        }
        Ok(_) => Err(malformed()),
        Err(error) => Err(refused_by_httparse(error)),
    }
}

fn build(line: RequestLine, headers: Fields) -> Result<Head, Problem> {
    let version = line.version;
    let target = request_line::split_target(&line.method, &line.target)?;
    let host = fields::host(&headers, version)?;
    check_authority(target.authority.as_ref(), host.as_ref())?;
    Ok(Head {
        method: line.method,
        path: target.path,
        query: target.query,
        version,
        body: fields::body_length(&headers, version)?,
        expects_continue: fields::expects_continue(&headers, version)?,
        keep_alive: fields::keep_alive(&headers, version),
        headers,
    })
}

/// An absolute target must name the same place as Host.
fn check_authority(
    target: Option<&(Authority, u16)>,
    host: Option<&Authority>,
) -> Result<(), Problem> {
    let (Some((target, default_port)), Some(host)) = (target, host) else {
        return Ok(());
    };
    if target.same_place(host, Some(*default_port)) {
        return Ok(());
    }
    let detail = "The target and the Host header name different places";
    Err(Problem::bad_request(detail))
}

fn own(headers: &[httparse::Header<'_>]) -> Result<Fields, Problem> {
    let own_one = |header: &httparse::Header<'_>| {
        if !request_line::is_token(header.name) {
            return Err(Problem::bad_request("A header name is malformed"));
        }
        let value = header.value.iter().map(|&byte| char::from(byte));
        Ok((header.name.to_ascii_lowercase(), value.collect()))
    };
    headers.iter().map(own_one).collect()
}

fn refused_by_httparse(error: httparse::Error) -> Problem {
    Problem::bad_request(match error {
        httparse::Error::HeaderName => "A header name is malformed",
        httparse::Error::HeaderValue => "A header value is malformed",
        _ => "The head is malformed",
    })
}

#[cfg(test)]
mod tests;
