//! `X-Forwarded-For`, read by plain code.

use std::net::{IpAddr, SocketAddr};

/// `None` if a proxy is neither an address nor a network.
pub fn client_of(proxies: &[&str], peer: SocketAddr, fields: &[&str]) -> Option<String> {
    let networks: Vec<(u128, u32)> = proxies
        .iter()
        .map(|text| network(text))
        .collect::<Option<_>>()?;
    let is_trusted = |ip: IpAddr| {
        let bits = bits(ip);
        // The two families have no address in common, since IPv4 is shifted to its own place.
        networks
            .iter()
            .any(|(network, length)| length_of_prefix(bits, *network) >= *length)
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

/// IPv4 as 129 bits would need more than a number has, so it is marked by the prefix of mapped addresses, which never occur
/// in the other form.
fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn length_of_prefix(a: u128, b: u128) -> u32 {
    (a ^ b).leading_zeros()
}

/// The bits and how many of them count.
fn network(text: &str) -> Option<(u128, u32)> {
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
    Some((bits(ip), length + 128 - most))
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
