//! The subprotocols that a client offers: ours, and optionally a credential, since a browser can set no other header.

use crate::server::http::head::Head;

/// The only subprotocol that the server selects.
pub(crate) const NAME: &str = "threadcast.v1";

/// The prefix of a credential in base64url.
const CREDENTIAL_PREFIX: &str = "bearer.";

/// Whether the client offers our subprotocol.
pub(crate) fn is_offered(head: &Head) -> bool {
    offered(head).any(|name| name == NAME)
}

/// The offered credentials, still in base64url.
pub(crate) fn credentials(head: &Head) -> impl Iterator<Item = &str> {
    offered(head).filter_map(|name| name.strip_prefix(CREDENTIAL_PREFIX))
}

fn offered(head: &Head) -> impl Iterator<Item = &str> {
    let lists = head.values("sec-websocket-protocol");
    lists
        .flat_map(|list| list.split(','))
        .map(|name| name.trim_matches([' ', '\t']))
}
