//! The address of a server, parsed from a URL. No I/O.

use std::fmt;
use std::str::FromStr;

use super::Error;

/// Host and port of a server, from `ws://host:port/ws`, `http://host:port` or `host:port`; with TLS from `wss://` or `https://`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Address {
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    is_tls: bool,
}

impl Address {
    /// For name resolution.
    pub(super) fn host_and_port(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    pub(super) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The URL of the WebSocket endpoint.
    pub(super) fn websocket_url(&self) -> String {
        let scheme = if self.is_tls { "wss" } else { "ws" };
        format!("{scheme}://{self}/ws")
    }

    /// The URL of a REST resource; `path` begins with a slash.
    pub(super) fn rest_url(&self, path: &str) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{self}{path}")
    }
}

impl FromStr for Address {
    type Err = Error;

    /// Errors do not repeat the text, since it may contain a key.
    fn from_str(url: &str) -> Result<Address, Error> {
        let lower = url.get(..8).unwrap_or(url).to_ascii_lowercase();
        let scheme = ["ws://", "http://", "wss://", "https://"]
            .into_iter()
            .find(|scheme| lower.starts_with(scheme));
        let is_tls = matches!(scheme, Some("wss://" | "https://"));
        if is_tls && cfg!(not(feature = "tls")) {
            return Err(Error::invalid(NO_TLS));
        }
        let rest = scheme.map_or(url, |scheme| &url[scheme.len()..]);
        if rest.contains(['?', '@']) {
            return Err(Error::invalid(
                "url: must not contain a key or a user; give the key with key()",
            ));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let in_authority = |c: char| c.is_ascii_alphanumeric() || "-._:[]%".contains(c);
        if !matches!(path, "" | "ws" | "ws/") || !authority.chars().all(in_authority) {
            return Err(Error::invalid(EXPECTED));
        }
        let default_port = if is_tls { 443 } else { 80 };
        let (host, port) =
            split(authority, default_port).ok_or_else(|| Error::invalid(EXPECTED))?;
        Ok(Address { host, port, is_tls })
    }
}

const EXPECTED: &str = "url: expected something like ws://127.0.0.1:8080/ws";

/// What a client without TLS says of a URL that needs it.
pub(super) const NO_TLS: &str = "url: this program was built without TLS, the feature `tls` of the crate; use ws:// and http://";

fn split(authority: &str, default_port: u16) -> Option<(String, u16)> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        None => rest.is_empty().then_some(default_port)?,
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_url_is_the_same_address() {
        for url in [
            "ws://localhost:8080/ws",
            "ws://localhost:8080",
            "WS://localhost:8080/ws/",
            "http://localhost:8080",
            "http://localhost:8080/",
            "localhost:8080",
        ] {
            let address: Address = url.parse().expect(url);
            assert_eq!(address.websocket_url(), "ws://localhost:8080/ws", "{url}");
        }
        let v6: Address = "ws://[::1]:9000/ws".parse().expect("an address");
        assert_eq!(
            (v6.to_string().as_str(), v6.host_and_port()),
            ("[::1]:9000", ("::1", 9000))
        );
        let bare: Address = "example.org".parse().expect("an address");
        assert_eq!(bare.rest_url("/livez"), "http://example.org:80/livez");
    }

    #[test]
    fn invalid_address_is_refused_and_not_repeated() {
        for url in [
            "",
            "ws://",
            "ws://:80",
            "ws://host:0",
            "ws://host:99999",
            "ws://host:8080/other",
            "ftp://host",
            "ws://host:8080/ws?token=s3cret",
            "ws://s3cret@host:8080/ws",
            "wss://host/s3cret",
            "ws://[::1",
            "ws://[::1]x",
            "a b",
            "höst:80",
        ] {
            let error = url.parse::<Address>().expect_err(url).to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn two_schemes_ask_for_tls() {
        for url in ["wss://host/ws", "https://host", "WSS://host:443"] {
            let address: Address = url.parse().expect(url);
            assert!(address.is_tls());
            assert_eq!(address.websocket_url(), "wss://host:443/ws", "{url}");
            assert_eq!(address.rest_url("/livez"), "https://host:443/livez");
        }
    }
}
