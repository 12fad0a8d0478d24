//! Where the server is: a URL reduced to what a socket and a `Host` field need. Opens nothing.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// Host and port of a server, from `http://host:port`, `ws://host:port/ws` or `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    authority: String,
}

impl ServerAddress {
    /// `host:port`, as a socket address and as the `Host` field.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The URL of the WebSocket endpoint.
    pub(crate) fn websocket_url(&self) -> String {
        format!("ws://{}/ws", self.authority)
    }
}

impl From<SocketAddr> for ServerAddress {
    fn from(address: SocketAddr) -> Self {
        ServerAddress {
            authority: address.to_string(),
        }
    }
}

impl FromStr for ServerAddress {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        if url.starts_with("https://") || url.starts_with("wss://") {
            return Err("the examples speak plain http:// and ws:// only".to_owned());
        }
        let rest = url
            .strip_prefix("http://")
            .or_else(|| url.strip_prefix("ws://"))
            .unwrap_or(url);
        let rest = rest.strip_suffix("/ws").unwrap_or(rest);
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.is_empty() || authority.contains(['/', '?', '#', '@', ' ']) {
            return Err("expected something like http://127.0.0.1:8080".to_owned());
        }
        Ok(ServerAddress {
            authority: with_port(authority)?,
        })
    }
}

/// Adds the port 80 of plain HTTP when the URL names none.
fn with_port(authority: &str) -> Result<String, String> {
    let after_host = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    match authority[after_host..].rsplit_once(':') {
        None => Ok(format!("{authority}:80")),
        Some((_, port)) if port.parse::<u16>().is_ok_and(|port| port > 0) => {
            Ok(authority.to_owned())
        }
        Some((_, port)) => Err(format!("'{port}' is not a port")),
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
    }
}
