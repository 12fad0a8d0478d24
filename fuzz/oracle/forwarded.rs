//! `X-Forwarded-For`, read by plain code.

use std::net::{IpAddr, SocketAddr};

/// `None` if a proxy is neither an address nor a network.
pub fn client_of(proxies: &[&str], peer: SocketAddr, fields: &[&str]) -> Option<String> {
    let networks: Vec<(IpAddr, u32)> = proxies
        .iter()
        .map(|text| network(text))
        .collect::<Option<_>>()?;
    let is_trusted = |ip: IpAddr| {
        networks
            .iter()
            .any(|(network, length)| common_bits(*network, ip).is_some_and(|bits| bits >= *length))
    };
    let peer_ip = peer.ip().to_canonical();
    let shown_peer = SocketAddr::new(peer_ip, peer.port()).to_string();
    if !is_trusted(peer_ip) {
        return Some(shown_peer);
    }
    let joined = fields.join(",");
    let mut client = shown_peer.clone();
    if fields.is_empty() {
        return Some(client);
    }
    for entry in joined.split(',').collect::<Vec<_>>().into_iter().rev() {
        let Some((ip, port)) = address(entry.trim_matches([' ', '\t'])) else {
            return Some(shown_peer);
        };
        client = match port {
            Some(port) => SocketAddr::new(ip, port).to_string(),
            None => ip.to_string(),
        };
        if !is_trusted(ip) {
            break;
        }
    }
    Some(client)
}

/// How many bits at the front are the same; `None` for addresses of two families.
fn common_bits(a: IpAddr, b: IpAddr) -> Option<u32> {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => Some((a.to_bits() ^ b.to_bits()).leading_zeros()),
        (IpAddr::V6(a), IpAddr::V6(b)) => Some((a.to_bits() ^ b.to_bits()).leading_zeros()),
        _ => None,
    }
}

/// An address in the network, and how many of its bits count.
fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (ip, length) = match text.split_once('/') {
        Some((ip, length)) => (ip, Some(length)),
        None => (text, None),
    };
    let ip: IpAddr = ip.parse().ok()?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let length: u32 = match length {
        Some(digits) => (0..=most).find(|number| number.to_string() == digits)?,
        None => most,
    };
    let is_mapped = ip.is_ipv6() && ip.to_canonical().is_ipv4() && length >= 96;
    Some(match is_mapped {
        true => (ip.to_canonical(), length - 96),
        false => (ip, length),
    })
}

fn address(text: &str) -> Option<(IpAddr, Option<u16>)> {
    let ports = [None, text.rsplit_once(':')];
    ports.into_iter().find_map(|split| {
        let (host, port) = match split {
            Some((host, digits)) => {
                let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                (host, Some(digits.parse().ok().filter(|_| plain)?))
            }
            None => (text, None),
        };
        let in_brackets = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let ip: IpAddr = match in_brackets {
            Some(inner) => IpAddr::V6(inner.parse().ok()?),
            None => host.parse().ok()?,
        };
        // With a port, IPv6 needs brackets.
        let is_clear = port.is_none() || in_brackets.is_some() || ip.is_ipv4();
        is_clear.then_some((ip.to_canonical(), port))
    })
}
