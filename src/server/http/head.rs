//! The head of a request: parsed by httparse, held to what HTTP/1.1 says strictly.
//!
//! Pure. A [`Head`] that exists has passed every check, so nothing behind it looks at the bytes again.

use std::fmt;

use super::authority::Authority;
use super::fields::{self, BodyLength, Fields};
use super::problem::Problem;
use super::request_line::{self, Version};
#[cfg(any(test, fuzzing))]
use super::scan::HeadScanner;
use super::scan::MAX_HEADERS;
use super::target;

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// The method token as sent; case matters.
    pub(crate) method: String,
    /// Still percent-encoded, begins with `/`.
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
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        fields::values(&self.headers, name)
    }

    /// Whether only the head of the answer is wanted.
    pub(crate) fn is_for_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// Whether the path is `/ws`, however it was percent-encoded.
    pub(crate) fn is_websocket_path(&self) -> bool {
        target::segments(&self.path).is_ok_and(|segments| segments == ["ws"])
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

/// Parses the head at the front of `buffer` and tells its length; `None` while it is incomplete.
#[cfg(any(test, fuzzing))]
pub(crate) fn parse(buffer: &[u8]) -> Result<Option<(Head, usize)>, Problem> {
    match HeadScanner::default().advance(buffer)? {
        Some(length) => Ok(Some((parse_complete(buffer, length)?, length))),
        None => Ok(None),
    }
}

/// Parses a head whose length the scanner has found.
pub(super) fn parse_complete(buffer: &[u8], length: usize) -> Result<Head, Problem> {
    let malformed = || Problem::bad_request("The head is malformed");
    let bytes = buffer.get(..length).ok_or_else(malformed)?;
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(end)) if end == length => {}
        Ok(_) => return Err(malformed()),
        Err(error) => return Err(refused_by_httparse(error)),
    }
    let line_end = bytes.iter().position(|&byte| byte == b'\r');
    let line = request_line::parse(&bytes[..line_end.unwrap_or(0)])?;
    build(&line, own(request.headers)?)
}

fn build(line: &request_line::RequestLine<'_>, headers: Fields) -> Result<Head, Problem> {
    let version = line.version;
    let target = request_line::split_target(line.target)?;
    let host = fields::host(&headers, version)?;
    check_authority(target.authority.as_ref(), host.as_ref())?;
    Ok(Head {
        method: line.method.to_owned(),
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
