//! The subprotocols a client offers: ours, and with it perhaps a credential, since a browser can send no other header.

use crate::server::http::head::Head;

/// The one subprotocol that is spoken, and the only one that is ever echoed.
pub(crate) const NAME: &str = "threadcast.v1";

/// What a credential in base64url stands behind.
const CREDENTIAL_PREFIX: &str = "bearer.";

/// Whether ours is among them.
pub(crate) fn is_offered(head: &Head) -> bool {
    offered(head).any(|name| name == NAME)
}

/// The credentials among them, still in base64url.
pub(crate) fn credentials(head: &Head) -> impl Iterator<Item = &str> {
    offered(head).filter_map(|name| name.strip_prefix(CREDENTIAL_PREFIX))
}

fn offered(head: &Head) -> impl Iterator<Item = &str> {
    let lists = head.values("sec-websocket-protocol");
    lists
        .flat_map(|list| list.split(','))
        .map(|name| name.trim_matches([' ', '\t']))
}
