//! Networks of trusted proxies.

use std::net::IpAddr;

use ipnet::IpNet;

/// An address, or a network such as `10.0.0.0/8`; `None` if the text is neither.
pub(crate) fn parse_network(text: &str) -> Option<IpNet> {
    let Some((address, bits)) = text.split_once('/') else {
        return text.parse::<IpAddr>().ok().map(IpNet::from);
    };
    // The parser of `IpNet` takes leading zeros, which others read as octal.
    let bits = bits
        .parse()
        .ok()
        .filter(|number: &u8| number.to_string() == bits)?;
    IpNet::new(address.parse().ok()?, bits).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_a_network_of_one() {
        assert_eq!(parse_network("192.0.2.7"), parse_network("192.0.2.7/32"));
        assert_eq!(parse_network("::1"), parse_network("::1/128"));
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
