//! The address at which other machines reach a server: a host, with or without a port.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// An address that other nodes show to people and clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AdvertisedAddress {
    /// An IPv6 address is in brackets.
    host: String,
    port: Option<u16>,
}

impl AdvertisedAddress {
    /// `None` if the text is neither a host nor a host with a port, or an address that stands for all of a machine.
    pub(crate) fn parse(text: &str) -> Option<AdvertisedAddress> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return AdvertisedAddress::of_ip(ip, None);
        }
        if let Some(ip) = in_brackets(text) {
            return AdvertisedAddress::of_ip(ip.into(), None);
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return AdvertisedAddress::of_ip(address.ip(), Some(port_of(text)?));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, _)) => (host, Some(port_of(text)?)),
            None => (text, None),
        };
        let is_of_host = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let is_host = (1..=253).contains(&host.len()) && host.chars().all(is_of_host);
        // A number with dots that is no IPv4 address is a mistyped one.
        let is_number = host.chars().all(|c| c.is_ascii_digit() || c == '.');
        (is_host && !is_number).then(|| AdvertisedAddress {
            host: host.to_owned(),
            port,
        })
    }

    /// What the server says of itself when nobody set it: where it listens. An address that stands for all of the machine is
    /// replaced by the name of the machine.
    pub(crate) fn of_listener(
        bound: SocketAddr,
        machine: impl FnOnce() -> Option<String>,
    ) -> String {
        let name = bound.ip().is_unspecified().then(machine).flatten();
        let named = name.as_deref().and_then(AdvertisedAddress::parse);
        named.map_or_else(|| bound.to_string(), |named| named.with_port(bound.port()))
    }

    /// With this port if it has none.
    pub(crate) fn with_port(&self, port: u16) -> String {
        format!("{}:{}", self.host, self.port.unwrap_or(port))
    }

    fn of_ip(ip: IpAddr, port: Option<u16>) -> Option<AdvertisedAddress> {
        let host = match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        (!ip.is_unspecified()).then_some(AdvertisedAddress { host, port })
    }
}

fn in_brackets(text: &str) -> Option<Ipv6Addr> {
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// The port behind the last colon: digits, not 0.
fn port_of(text: &str) -> Option<u16> {
    let (_, port) = text.rsplit_once(':')?;
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|port| is_number && *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_keeps_its_port_or_gets_that_of_the_listener() {
        for (text, shown) in [
            ("node-1", "node-1:8080"),
            ("node_1.example.", "node_1.example.:8080"),
            ("events.example:443", "events.example:443"),
            ("10.0.0.5", "10.0.0.5:8080"),
            ("10.0.0.5:81", "10.0.0.5:81"),
            ("fd00::5", "[fd00::5]:8080"),
            ("[fd00::5]", "[fd00::5]:8080"),
            ("[fd00::5]:81", "[fd00::5]:81"),
        ] {
            let address = AdvertisedAddress::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(address.with_port(8080), shown);
        }
    }

    #[test]
    fn what_is_no_address_of_a_server_is_refused() {
        let long = "a".repeat(254);
        for text in [
            "",
            ":",
            ":8080",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a:b",
            "a b",
            "a/b",
            "http://a",
            "ws://a:80",
            "0.0.0.0",
            "0.0.0.0:8080",
            "::",
            "[::]:8080",
            "10.0.0.256",
            "[10.0.0.5]",
            "10.0.0.5:0",
            "a,b",
            &long,
        ] {
            assert_eq!(AdvertisedAddress::parse(text), None, "{text}");
        }
    }

    #[test]
    fn listener_on_every_address_is_named_after_its_machine() {
        let shown = |bound: &str, name: Option<&str>| {
            AdvertisedAddress::of_listener(bound.parse().unwrap(), || name.map(str::to_owned))
        };
        assert_eq!(shown("127.0.0.1:81", Some("m")), "127.0.0.1:81");
        assert_eq!(shown("0.0.0.0:81", Some("m")), "m:81");
        assert_eq!(shown("[::]:81", Some("m")), "m:81");
        assert_eq!(shown("0.0.0.0:81", None), "0.0.0.0:81");
        assert_eq!(shown("0.0.0.0:81", Some("a name")), "0.0.0.0:81");
    }
}
