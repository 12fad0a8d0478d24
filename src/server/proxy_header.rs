//! The header with which a proxy begins a connection to name its client: the PROXY protocol of HAProxy, versions 1 and 2.
//!
//! [`decode`] is pure. [`read`] reads exactly the bytes of the header from the socket, so that what follows, TLS or HTTP, finds
//! its own first byte.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::http::deadline::Deadline;
use super::transport::Transport;

const SIGNATURE_OF_2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length of the rest.
const FIXED_BYTES_OF_2: usize = 16;
/// The most that may follow: addresses, and what else the proxy says.
const MAX_REST_BYTES_OF_2: usize = 4 << 10;

const START_OF_1: &[u8] = b"PROXY ";
const SHORTEST_1: usize = b"PROXY UNKNOWN\r\n".len();
/// By the specification of version 1.
const LONGEST_1: usize = 107;

/// What a header is so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// At least this number of bytes more belong to it.
    Needs(usize),
    /// It is complete, and names a client, or none: then the peer is one.
    Complete(Option<SocketAddr>),
}

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(&'static str);

/// Why there is no header.
#[derive(Debug)]
pub(crate) enum ReadError {
    Malformed(Malformed),
    Io(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Malformed(Malformed(what)) => out.write_str(what),
            ReadError::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                out.write_str("it did not arrive in time")
            }
            ReadError::Io(error) => write!(out, "{error}"),
        }
    }
}

/// Reads a header. Returns whom it names, and how many bytes it has.
pub(crate) fn read(
    transport: &Transport,
    deadline: Deadline,
) -> Result<(Option<SocketAddr>, usize), ReadError> {
    let mut received = Vec::with_capacity(LONGEST_1);
    loop {
        match decode(&received).map_err(ReadError::Malformed)? {
            Header::Complete(client) => return Ok((client, received.len())),
            Header::Needs(bytes) => {
                let before = received.len();
                received.resize(before + bytes, 0);
                let missing = received.get_mut(before..).unwrap_or_default();
                let read = transport.read_by(missing, deadline);
                let read = read.map_err(ReadError::Io)?;
                if read == 0 {
                    return Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into()));
                }
                received.truncate(before + read);
            }
        }
    }
}

/// Decodes the begin of a header, which must hold no byte behind it.
pub(crate) fn decode(received: &[u8]) -> Result<Header, Malformed> {
    let is_begin_of = |whole: &[u8]| {
        let both = received.len().min(whole.len());
        received.get(..both) == whole.get(..both)
    };
    if is_begin_of(START_OF_1) {
        decode_1(received)
    } else if is_begin_of(SIGNATURE_OF_2) {
        decode_2(received)
    } else {
        Err(Malformed("it is no PROXY header"))
    }
}

fn decode_1(received: &[u8]) -> Result<Header, Malformed> {
    if let Some(line) = received.strip_suffix(b"\r\n") {
        return parse_line(line).map(Header::Complete);
    }
    let text = received.strip_suffix(b"\r").unwrap_or(received);
    if text.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return Err(Malformed("its line does not end with CR LF"));
    }
    let to_the_end = if text.len() < received.len() { 1 } else { 2 };
    if received.len() + to_the_end > LONGEST_1 {
        return Err(Malformed("its line is too long"));
    }
    Ok(Header::Needs(
        SHORTEST_1.saturating_sub(received.len()).max(to_the_end),
    ))
}

/// A line of version 1 without its end.
fn parse_line(line: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    let malformed = Malformed("its line is malformed");
    let line = std::str::from_utf8(line).map_err(|_| malformed)?;
    if line.contains(['\r', '\n']) {
        return Err(malformed);
    }
    let mut parts = line.split(' ').skip(1);
    let mut part = || parts.next().ok_or(malformed);
    let parse: fn(&str) -> Option<IpAddr> = match part()? {
        "TCP4" => |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        // Whatever follows is ignored.
        "UNKNOWN" => return Ok(None),
        _ => return Err(malformed),
    };
    let source = parse(part()?).ok_or(malformed)?;
    parse(part()?).ok_or(malformed)?;
    let source_port = parse_port(part()?).ok_or(malformed)?;
    parse_port(part()?).ok_or(malformed)?;
    match parts.next() {
        None => Ok(Some(SocketAddr::new(source, source_port))),
        Some(_) => Err(malformed),
    }
}

/// Digits without a leading zero.
fn parse_port(text: &str) -> Option<u16> {
    let port: u16 = text.parse().ok()?;
    (port.to_string() == text).then_some(port)
}

fn decode_2(received: &[u8]) -> Result<Header, Malformed> {
    let Some((fixed, rest)) = received.split_first_chunk::<FIXED_BYTES_OF_2>() else {
        return Ok(Header::Needs(FIXED_BYTES_OF_2 - received.len()));
    };
    let [.., version_and_command, family, high, low] = *fixed;
    let is_local = match version_and_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed("its version or command is unknown")),
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_REST_BYTES_OF_2 {
        return Err(Malformed("it is too long"));
    }
    if !is_local && length < addresses_bytes(family)? {
        return Err(Malformed("it is too short for its addresses"));
    }
    if rest.len() < length {
        return Ok(Header::Needs(length - rest.len()));
    }
    // Behind the addresses is what else the proxy says, which nobody needs here.
    let source = match (family, rest) {
        _ if is_local => None,
        (0x11, [a, b, c, d, _, _, _, _, high, low, ..]) => Some(SocketAddr::new(
            IpAddr::from([*a, *b, *c, *d]),
            u16::from_be_bytes([*high, *low]),
        )),
        (0x21, rest) => source_of_ipv6(rest),
        // Not TCP.
        _ => None,
    };
    Ok(Header::Complete(source))
}

/// How many bytes the addresses of a family take; the lower half of the number is the transport.
fn addresses_bytes(family: u8) -> Result<usize, Malformed> {
    match (family >> 4, family & 0x0f) {
        (0, 0..=2) => Ok(0),
        (1, 0..=2) => Ok(12),
        (2, 0..=2) => Ok(36),
        (3, 0..=2) => Ok(216),
        _ => Err(Malformed("its family is unknown")),
    }
}

/// Source, destination, and the port of the source.
fn source_of_ipv6(rest: &[u8]) -> Option<SocketAddr> {
    let (source, rest) = rest.split_first_chunk::<16>()?;
    let (_, rest) = rest.split_first_chunk::<16>()?;
    let (port, _) = rest.split_first_chunk::<2>()?;
    Some(SocketAddr::new(
        IpAddr::from(*source),
        u16::from_be_bytes(*port),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds as many bytes as are asked for. Returns the client, and the bytes behind the header.
    fn decode_in(mut bytes: &[u8]) -> Result<(Option<SocketAddr>, &[u8]), Malformed> {
        let mut received = Vec::new();
        loop {
            match decode(&received)? {
                Header::Complete(client) => return Ok((client, bytes)),
                Header::Needs(more) => {
                    assert!(more > 0);
                    let Some((part, rest)) = bytes.split_at_checked(more) else {
                        return Err(Malformed("incomplete"));
                    };
                    received.extend_from_slice(part);
                    bytes = rest;
                }
            }
        }
    }

    fn client(bytes: &[u8]) -> Result<String, &'static str> {
        let decoded = decode_in(bytes).map_err(|Malformed(what)| what)?;
        Ok(decoded.0.map_or("none".into(), |client| client.to_string()))
    }

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE_OF_2.to_vec();
        bytes.extend([command, family]);
        bytes.extend((rest.len() as u16).to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    const IPV4: [u8; 12] = [203, 0, 113, 5, 10, 0, 0, 1, 0xc8, 0x22, 0x1f, 0x90];

    #[test]
    fn line_of_version_1_names_the_client() {
        for (line, expected) in [
            (
                "PROXY TCP4 203.0.113.5 10.0.0.1 51234 8080\r\n",
                "203.0.113.5:51234",
            ),
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
                "255.255.255.255:65535",
            ),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 0 0\r\n", "1.1.1.1:0"),
            (
                "PROXY TCP6 2001:db8::5 ::1 51234 80\r\n",
                "[2001:db8::5]:51234",
            ),
            (
                "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            ),
            ("PROXY UNKNOWN\r\n", "none"),
            ("PROXY UNKNOWN ffff::1 what ever 1\r\n", "none"),
        ] {
            assert_eq!(client(line.as_bytes()).as_deref(), Ok(expected), "{line:?}");
        }
    }

    #[test]
    fn malformed_line_is_refused() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
            "PROXY\r\n.............",
            "PROXY  TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
            "PROXY TCP4 1.1.1.1  1.1.1.1 1 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 -1\r\n",
            "PROXY TCP4 1.1.1.256 1.1.1.1 1 1\r\n",
            "PROXY TCP4 1.1.1.1 ::1 1 1\r\n",
            "PROXY TCP4 ::1 ::1 1 1\r\n",
            "PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n",
            "PROXY TCP6 [::1] ::1 1 1\r\n",
            "PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n",
            "PROXY UNKNOWNX\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n",
            "PROXY TCP4 1.1.1.1\r1.1.1.1 1 1\r\n",
            "PROXY TCP4 \u{e9} 1.1.1.1 1 1\r\n",
        ] {
            assert!(client(line.as_bytes()).is_err(), "{line:?}");
        }
        let endless = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
        assert!(client(endless.as_bytes()).is_err(), "of 108 bytes");
        assert!(client(&endless.as_bytes()[1..]).is_err());
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
        assert_eq!(client(longest.as_bytes()).as_deref(), Ok("none"));
    }

    #[test]
    fn block_of_version_2_names_the_client() {
        let mut ipv6 = [0; 36];
        ipv6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        ipv6[15] = 5;
        ipv6[32..34].copy_from_slice(&[0xc8, 0x22]);
        let with_more = [&IPV4[..], &[0x04, 0, 2, 1, 2, 0xee]].concat();
        let longest = [&IPV4[..], &vec![0; MAX_REST_BYTES_OF_2 - 12]].concat();
        for (command, family, rest, expected) in [
            (0x21, 0x11, &IPV4[..], "203.0.113.5:51234"),
            (0x21, 0x11, &with_more, "203.0.113.5:51234"),
            (0x21, 0x11, &longest, "203.0.113.5:51234"),
            (0x21, 0x21, &ipv6, "[2001:db8::5]:51234"),
            // Not TCP, or nothing.
            (0x21, 0x00, &[], "none"),
            (0x21, 0x00, &IPV4, "none"),
            (0x21, 0x12, &IPV4, "none"),
            (0x21, 0x31, &[0; 216], "none"),
            // A check of the proxy's own.
            (0x20, 0x00, &[], "none"),
            (0x20, 0x11, &IPV4, "none"),
            (0x20, 0xff, &[1, 2, 3], "none"),
        ] {
            let bytes = version_2(command, family, rest);
            assert_eq!(client(&bytes).as_deref(), Ok(expected), "{bytes:?}");
        }
    }

    #[test]
    fn malformed_block_is_refused() {
        let too_long = [&IPV4[..], &vec![0; MAX_REST_BYTES_OF_2 - 11]].concat();
        for (command, family, rest) in [
            (0x11, 0x11, &IPV4[..]),
            (0x31, 0x11, &IPV4),
            (0x22, 0x11, &IPV4),
            (0x2f, 0x11, &IPV4),
            (0x21, 0x41, &IPV4),
            (0x21, 0x13, &IPV4),
            (0x21, 0x11, &IPV4[..11]),
            (0x21, 0x21, &[0; 35]),
            (0x21, 0x12, &IPV4[..11]),
            (0x21, 0x31, &[0; 215]),
            (0x21, 0x11, &too_long),
            (0x20, 0x11, &too_long),
        ] {
            let bytes = version_2(command, family, rest);
            assert!(client(&bytes).is_err(), "{bytes:?}");
        }
        for n in 0..SIGNATURE_OF_2.len() {
            let mut bytes = version_2(0x21, 0x11, &IPV4);
            bytes[n] ^= 1;
            assert!(client(&bytes).is_err(), "{n}");
        }
    }

    proptest! {
        #[test]
        fn named_clients_are_read_and_nothing_behind_the_header(
            ip in prop_oneof![any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())), any::<u128>().prop_map(|bits| IpAddr::V6(bits.into()))],
            ports: [u16; 2],
            more in prop::collection::vec(any::<u8>(), 0..50),
            behind in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let (word, family, octets) = match ip {
                IpAddr::V4(ip) => ("TCP4", 0x11, ip.octets().to_vec()),
                IpAddr::V6(ip) => ("TCP6", 0x21, ip.octets().to_vec()),
            };
            let line = format!("PROXY {word} {ip} {ip} {} {}\r\n", ports[0], ports[1]);
            let ports_of_2 = ports.map(u16::to_be_bytes).concat();
            let block = version_2(0x21, family, &[octets.clone(), octets, ports_of_2, more].concat());
            for header in [line.into_bytes(), block] {
                let bytes = [&header[..], &behind].concat();
                prop_assert_eq!(decode_in(&bytes), Ok((Some(SocketAddr::new(ip, ports[0])), &behind[..])));
            }
        }

        #[test]
        fn any_bytes_are_decoded_without_panic(start in 0usize..3, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let start: &[u8] = [&b""[..], START_OF_1, SIGNATURE_OF_2][start];
            let _ = (decode(&bytes), decode_in(&[start, &bytes].concat()));
        }

        #[test]
        fn any_line_is_decoded_without_panic(line in "PROXY (TCP4|TCP6|UNKNOWN)[ -~]{0,60}(\r\n)?") {
            let _ = (decode(line.as_bytes()), decode_in(line.as_bytes()));
        }
    }
}
