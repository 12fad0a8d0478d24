//! The address of a client, which trusted proxies name in `X-Forwarded-For`. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use crate::config::parse_network;

/// The bits of an IPv6 address that one client has: providers give each customer a network of this size at least.
const IPV6_CLIENT_BITS: u32 = 64;

/// Where a client is: what the log and `/connections` show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientAddress {
    /// Never an IPv4 address in the form of IPv6.
    ip: IpAddr,
    /// A proxy need not name it.
    port: Option<u16>,
}

impl ClientAddress {
    fn new(ip: IpAddr, port: Option<u16>) -> ClientAddress {
        let ip = ip.to_canonical();
        ClientAddress { ip, port }
    }

    /// What counts as one client for limits: the address, of IPv6 its network of 64 bits.
    pub(crate) fn group(self) -> IpAddr {
        match self.ip {
            IpAddr::V4(_) => self.ip,
            IpAddr::V6(ip) => {
                let network = ip.to_bits() & (u128::MAX << (128 - IPV6_CLIENT_BITS));
                Ipv6Addr::from_bits(network).into()
            }
        }
    }

    /// `address`, `address:port`, `[IPv6]` or `[IPv6]:port`.
    fn parse(text: &str) -> Option<ClientAddress> {
        if let Ok(ip) = text.parse() {
            return Some(ClientAddress::new(ip, None));
        }
        let (ip, port): (IpAddr, &str) = match text.strip_prefix('[') {
            Some(rest) => {
                let (ip, port) = rest.split_once(']')?;
                (ip.parse::<Ipv6Addr>().ok()?.into(), port)
            }
            None => {
                let (ip, _) = text.split_once(':')?;
                (IpAddr::V4(ip.parse().ok()?), &text[ip.len()..])
            }
        };
        if port.is_empty() {
            return Some(ClientAddress::new(ip, None));
        }
        let digits = port.strip_prefix(':')?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let port = digits.parse().ok().filter(|_| is_number)?;
        Some(ClientAddress::new(ip, Some(port)))
    }
}

impl From<SocketAddr> for ClientAddress {
    fn from(address: SocketAddr) -> ClientAddress {
        ClientAddress::new(address.ip(), Some(address.port()))
    }
}

impl Serialize for ClientAddress {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(out),
            None => self.ip.fmt(out),
        }
    }
}

/// The proxies whose word about their clients is taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// `None` if one of the texts is neither an address nor a network.
    pub(crate) fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<TrustedProxies> {
        let networks: Option<Vec<IpNet>> = texts.into_iter().map(parse_network).collect();
        networks.map(TrustedProxies)
    }

    pub(crate) fn contain(&self, address: ClientAddress) -> bool {
        self.0.iter().any(|network| network.contains(&address.ip))
    }

    /// Who sent a request that `peer` passed on. `forwarded` are the values of all `X-Forwarded-For` fields, in order.
    ///
    /// Each proxy appends the address from which it got the request, so the list is read from the right, up to the first
    /// address that is no trusted proxy: what stands before it, the client may have made up. An entry on the way that is no
    /// address makes the list worthless.
    pub(crate) fn client_of<'a, I>(&self, peer: ClientAddress, forwarded: I) -> ClientAddress
    where
        I: DoubleEndedIterator<Item = &'a str>,
    {
        if !self.contain(peer) {
            return peer;
        }
        let mut client = peer;
        for entry in forwarded.rev().flat_map(|value| value.rsplit(',')) {
            let Some(address) = ClientAddress::parse(entry.trim_matches([' ', '\t'])) else {
                return peer;
            };
            client = address;
            if !self.contain(address) {
                break;
            }
        }
        client
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(text: &str) -> ClientAddress {
        ClientAddress::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    fn proxies() -> TrustedProxies {
        TrustedProxies::parse(["10.0.0.0/8", "192.0.2.7", "fd00::/8", "::1"]).unwrap()
    }

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let client = proxies().client_of(address(peer), forwarded.iter().copied());
        client.to_string()
    }

    #[test]
    fn first_untrusted_address_from_the_right_is_the_client() {
        for (forwarded, expected) in [
            (&["203.0.113.5"][..], "203.0.113.5"),
            (&["203.0.113.5, 10.1.1.1"], "203.0.113.5"),
            (&["1.1.1.1,203.0.113.5"], "203.0.113.5"),
            (
                &["1.1.1.1", "203.0.113.5", "10.1.1.1,10.2.2.2"],
                "203.0.113.5",
            ),
            (
                &[" 203.0.113.5:51234 \t,\t10.1.1.1:80 "],
                "203.0.113.5:51234",
            ),
            (&["2001:db8::5"], "2001:db8::5"),
            (&["[2001:db8::5]"], "2001:db8::5"),
            (&["[2001:0DB8:0::5]:443, fd00::1"], "[2001:db8::5]:443"),
            (&["::ffff:203.0.113.5"], "203.0.113.5"),
            (
                &["[::ffff:203.0.113.5]:1, ::ffff:10.1.1.1"],
                "203.0.113.5:1",
            ),
            (&["nonsense, 203.0.113.5"], "203.0.113.5"),
            (&["nonsense", "203.0.113.5, 192.0.2.7"], "203.0.113.5"),
        ] {
            assert_eq!(
                client("10.0.0.1:1000", forwarded),
                expected,
                "{forwarded:?}"
            );
        }
    }

    #[test]
    fn leftmost_of_trusted_addresses_alone_is_the_client() {
        assert_eq!(client("10.0.0.1:1", &["10.9.9.9, 192.0.2.7"]), "10.9.9.9");
        assert_eq!(
            client("10.0.0.1:1", &["10.9.9.9:7", "fd00::1"]),
            "10.9.9.9:7"
        );
    }

    #[test]
    fn peer_is_the_client_without_a_usable_list() {
        for forwarded in [
            &[][..],
            &[""],
            &["unknown"],
            &["203.0.113.5, unknown"],
            &["203.0.113.5,"],
            &["203.0.113.5,,10.1.1.1"],
            &["203.0.113.5", ""],
            &["203.0.113.5, 10.1.1.1, _hidden"],
            &["203.0.113.256"],
            &["203.0.113.5:"],
            &["203.0.113.5:+80"],
            &["203.0.113.5:65536"],
            &["203.0.113.5 10.1.1.1"],
            &["203.0.113.005"],
            &["[203.0.113.5]:80"],
            &["2001:db8::5:80x"],
            &["[2001:db8::5"],
            &["[2001:db8::5]80"],
            &["[fe80::1%eth0]:80"],
            &["\"203.0.113.5\""],
            &["for=203.0.113.5"],
            &["203.0.113.5/32"],
        ] {
            assert_eq!(
                client("10.0.0.1:1000", forwarded),
                "10.0.0.1:1000",
                "{forwarded:?}"
            );
        }
    }

    #[test]
    fn list_of_a_peer_that_is_not_trusted_is_ignored() {
        for peer in ["11.0.0.1:1", "[::2]:1", "192.0.2.8:1", "127.0.0.1:1"] {
            assert_eq!(client(peer, &["203.0.113.5"]), peer);
        }
        assert_eq!(client("[::1]:1", &["203.0.113.5"]), "203.0.113.5");
        assert_eq!(
            client("[::ffff:10.0.0.1]:1", &["203.0.113.5"]),
            "203.0.113.5"
        );
        let nobody = TrustedProxies::default();
        let peer = address("127.0.0.1:1");
        assert_eq!(nobody.client_of(peer, ["1.1.1.1"].into_iter()), peer);
    }

    #[test]
    fn address_of_ipv6_counts_with_its_network() {
        let group = |text: &str| address(text).group().to_string();
        assert_eq!(group("203.0.113.5:1"), "203.0.113.5");
        assert_eq!(group("::ffff:203.0.113.5"), "203.0.113.5");
        assert_eq!(group("[2001:db8:1:2:3:4:5:6]:7"), "2001:db8:1:2::");
        assert_ne!(group("2001:db8:1:2::1"), group("2001:db8:1:3::1"));
    }

    #[test]
    fn proxies_are_addresses_and_networks() {
        assert!(TrustedProxies::parse(["10.0.0.0/8", "localhost"]).is_none());
        assert!(TrustedProxies::parse([]).is_some());
        let host_bits = TrustedProxies::parse(["10.1.2.3/8"]).unwrap();
        assert!(host_bits.contain(address("10.9.9.9")));
    }

    fn any_ip() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
            (0u32..1 << 24).prop_map(|bits| IpAddr::V4((0x0a00_0000 | bits).into())),
            any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
            any::<u16>()
                .prop_map(|bits| IpAddr::V6(((0xfd00u128 << 112) | u128::from(bits)).into())),
        ]
    }

    /// Every way to write an address with or without a port.
    fn write(ip: IpAddr, port: Option<u16>, in_brackets: bool) -> String {
        match (ip, port) {
            (_, Some(port)) => SocketAddr::new(ip, port).to_string(),
            (IpAddr::V6(ip), None) if in_brackets => format!("[{ip}]"),
            (ip, None) => ip.to_string(),
        }
    }

    proptest! {
        #[test]
        fn written_addresses_are_read_again(ip in any_ip(), port: Option<u16>, in_brackets: bool) {
            let read = ClientAddress::parse(&write(ip, port, in_brackets));
            prop_assert_eq!(read, Some(ClientAddress::new(ip, port)));
        }

        /// Whatever the client wrote into the header before its proxy did, the client is the same.
        #[test]
        fn forged_entries_change_nothing(
            forged in "[\\PC]{0,30}",
            ip in any_ip().prop_filter("no proxy", |ip| !proxies().contain(ClientAddress::new(*ip, None))),
            hops in prop::collection::vec(0u32..1 << 24, 0..4),
            cuts in prop::collection::vec(any::<bool>(), 0..5),
        ) {
            let mut entries = vec![forged, ip.to_string()];
            entries.extend(hops.iter().map(|bits| write(IpAddr::V4((0x0a00_0000 | bits).into()), None, false)));
            // Any of the commas may as well be the end of a field.
            let mut fields = vec![String::new()];
            for (n, entry) in entries.iter().enumerate() {
                match cuts.get(n) {
                    Some(true) if n > 0 => fields.push(entry.clone()),
                    _ if n > 0 => { let last = fields.last_mut().unwrap(); last.push(','); last.push_str(entry); }
                    _ => fields.last_mut().unwrap().push_str(entry),
                }
            }
            let peer = address("10.0.0.1:1");
            let client = proxies().client_of(peer, fields.iter().map(String::as_str));
            prop_assert_eq!(client, ClientAddress::new(ip, None));
        }

        #[test]
        fn any_text_is_read_without_panic(fields in prop::collection::vec("[\\PC]{0,40}", 0..4)) {
            let fields = fields.iter().map(String::as_str);
            let _ = proxies().client_of(address("10.0.0.1:1"), fields);
        }
    }
}
