//! Networks of trusted proxies.

use std::net::IpAddr;

use ipnet::IpNet;

/// The bits of an IPv6 address before the IPv4 address in it.
const MAPPED_BITS: u8 = 96;

/// An address, or a network such as `10.0.0.0/8`; `None` if the text is neither. IPv4 in the form of IPv6 is IPv4.
pub(crate) fn parse_network(text: &str) -> Option<IpNet> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let bits = match bits {
        Some(digits) => parse_bits(digits)?,
        None => IpNet::from(address).max_prefix_len(),
    };
    match (address.to_canonical(), bits.checked_sub(MAPPED_BITS)) {
        (IpAddr::V4(ip), Some(bits)) if address.is_ipv6() => IpNet::new(ip.into(), bits).ok(),
        _ => IpNet::new(address, bits).ok(),
    }
}

/// Without the leading zeros that `IpNet` takes, and others read as octal.
fn parse_bits(digits: &str) -> Option<u8> {
    let bits: u8 = digits.parse().ok()?;
    (bits.to_string() == digits).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_a_network_of_one() {
        assert_eq!(parse_network("192.0.2.7"), parse_network("192.0.2.7/32"));
        assert_eq!(parse_network("::1"), parse_network("::1/128"));
        assert_eq!(
            parse_network("::ffff:10.0.0.0/104"),
            parse_network("10.0.0.0/8")
        );
        assert_eq!(
            parse_network("::ffff:192.0.2.7"),
            parse_network("192.0.2.7")
        );
        assert!(parse_network("::ffff:0:0/95").is_some());
        for wrong in [
            "",
            "localhost",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.1:80",
            "10.0.0",
            "010.0.0.0/8",
            "::/129",
            "[::1]",
            "*",
        ] {
            assert_eq!(parse_network(wrong), None, "{wrong}");
        }
    }
}
