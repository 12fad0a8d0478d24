//! PROXY headers, read by the crate `ppp`, and what the server understands in another way.

use std::net::SocketAddr;

use ppp::{HeaderResult, v1, v2};

/// The most bytes behind the fixed part of version 2.
const MAX_REST_BYTES: usize = 4 << 10;
const FIXED_BYTES: usize = 16;
const MAX_LINE_BYTES: usize = 107;

#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    pub client: Option<SocketAddr>,
    pub length: usize,
}

/// The header at the front of these bytes.
pub fn decode(bytes: &[u8]) -> Option<Header> {
    if bytes.starts_with(v2::PROTOCOL_PREFIX) && bytes.get(12) == Some(&0x20) {
        return local(bytes);
    }
    if bytes.starts_with(b"PROXY UNKNOWN") {
        return unknown(bytes);
    }
    match HeaderResult::parse(bytes) {
        HeaderResult::V1(Ok(header)) => version_1(&header),
        HeaderResult::V2(Ok(header)) => version_2(&header),
        _ => None,
    }
}

/// A connection of the proxy's own: what stands in it is not looked at, unlike `ppp` does.
fn local(bytes: &[u8]) -> Option<Header> {
    let length = usize::from(u16::from_be_bytes(bytes.get(14..16)?.try_into().ok()?));
    let whole = FIXED_BYTES + length;
    (length <= MAX_REST_BYTES && bytes.len() >= whole).then_some(Header {
        client: None,
        length: whole,
    })
}

/// `ppp` takes no more than four words behind `UNKNOWN`, all of which are to be ignored.
fn unknown(bytes: &[u8]) -> Option<Header> {
    let length = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let line = std::str::from_utf8(&bytes[..length - 2]).ok()?;
    let rest = line.strip_prefix("PROXY UNKNOWN")?;
    let is_line = length <= MAX_LINE_BYTES && !line.contains(['\r', '\n']);
    (is_line && (rest.is_empty() || rest.starts_with(' '))).then_some(Header {
        client: None,
        length,
    })
}

fn version_1(header: &v1::Header<'_>) -> Option<Header> {
    let line: &str = &header.header;
    let client = match header.addresses {
        v1::Addresses::Tcp4(ip) => SocketAddr::from((ip.source_address, ip.source_port)),
        v1::Addresses::Tcp6(ip) => SocketAddr::from((ip.source_address, ip.source_port)),
        v1::Addresses::Unknown => return None,
    };
    // A port has no sign, and a line ends with CR LF.
    let is_strict = !line.contains('+') && line.ends_with("\r\n");
    is_strict.then_some(Header {
        client: Some(client),
        length: line.len(),
    })
}

fn version_2(header: &v2::Header<'_>) -> Option<Header> {
    let is_tcp = header.protocol == v2::Protocol::Stream;
    let client = match header.addresses {
        v2::Addresses::IPv4(ip) if is_tcp => {
            Some(SocketAddr::from((ip.source_address, ip.source_port)))
        }
        v2::Addresses::IPv6(ip) if is_tcp => {
            Some(SocketAddr::from((ip.source_address, ip.source_port)))
        }
        _ => None,
    };
    let length = header.header.len();
    (length <= FIXED_BYTES + MAX_REST_BYTES).then_some(Header { client, length })
}
