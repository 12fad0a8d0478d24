//! Finds the credential of a head, in a header, a subprotocol or a query, and returns it.
//!
//! Pure. A malformed credential, or two different ones, count as none.

use data_encoding::{BASE64URL, BASE64URL_NOPAD};

use super::http::head::Head;
use super::http::target;
use super::websocket::subprotocol;
use crate::access::Credential;

/// The parameter of `/ws` and of an event stream that holds a secret.
const TOKEN: &str = "token";

/// The credential of a REST request.
pub(super) fn of_request(head: &Head) -> Option<Credential> {
    the_one(in_fields(head))
}

/// The credential of the request for an event stream, which a browser can only present in the query.
pub(super) fn of_event_stream(head: &Head) -> Option<Credential> {
    the_one(in_fields(head).chain(in_query(head)))
}

/// The credential of a handshake, which has two more ways to present it.
pub(super) fn of_handshake(head: &Head) -> Option<Credential> {
    the_one(
        in_fields(head)
            .chain(in_subprotocols(head))
            .chain(in_query(head)),
    )
}

/// The secret may appear more than once, but no other beside it. `None` stands for a malformed one.
fn the_one(mut presented: impl Iterator<Item = Option<Credential>>) -> Option<Credential> {
    let first = presented.next()??;
    presented
        .all(|other| other.as_ref() == Some(&first))
        .then_some(first)
}

fn in_fields(head: &Head) -> impl Iterator<Item = Option<Credential>> {
    let authorization = head.values("authorization").map(bearer);
    authorization.chain(head.values("x-api-key").map(field_secret))
}

/// `Bearer` in any case, white space, and the secret.
fn bearer(value: &str) -> Option<Credential> {
    let (scheme, secret) = value.split_once([' ', '\t'])?;
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    is_bearer.then(|| field_secret(secret)).flatten()
}

/// Restores the bytes of a value, which a [`Head`] holds as Latin-1.
fn field_secret(value: &str) -> Option<Credential> {
    let value = value.trim_matches([' ', '\t']);
    let bytes: Result<Vec<u8>, _> = value.chars().map(u8::try_from).collect();
    secret(&bytes.ok()?)
}

/// Counts only beside our own subprotocol, without which a browser would refuse the connection.
fn in_subprotocols(head: &Head) -> impl Iterator<Item = Option<Credential>> {
    let offered = subprotocol::is_offered(head);
    subprotocol::credentials(head).map(move |encoded| {
        let base64 = match encoded.ends_with('=') {
            true => BASE64URL,
            false => BASE64URL_NOPAD,
        };
        let decoded = base64.decode(encoded.as_bytes()).ok()?;
        offered.then(|| secret(&decoded)).flatten()
    })
}

fn in_query(head: &Head) -> impl Iterator<Item = Option<Credential>> {
    let parameters = head.query.iter().flat_map(|query| query.split('&'));
    parameters.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let is_token = target::decode_text(name).is_ok_and(|name| name == TOKEN);
        is_token.then(|| secret(target::decode_text(value).ok()?.as_bytes()))
    })
}

/// No secret is empty.
fn secret(bytes: &[u8]) -> Option<Credential> {
    (!bytes.is_empty()).then(|| Credential::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::http::head;
    use proptest::prelude::*;

    fn head(target: &str, fields: &str) -> Head {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        head::parse(text.as_bytes()).unwrap().unwrap().0
    }

    fn is_key(presented: Option<&Credential>) -> bool {
        presented == Some(&Credential::new(b"k-e_y"))
    }

    fn field(field: &str) -> bool {
        let head = head("/ws", &format!("{field}\r\n"));
        let both = (of_request(&head), of_handshake(&head));
        assert_eq!(both.0, both.1, "{field}");
        is_key(both.0.as_ref())
    }

    fn protocol(offered: &str) -> bool {
        let head = head("/ws", &format!("Sec-WebSocket-Protocol: {offered}\r\n"));
        assert_eq!(of_request(&head), None, "a REST request has no subprotocol");
        is_key(of_handshake(&head).as_ref())
    }

    fn query(query: &str) -> bool {
        let head = head(&format!("/ws?{query}"), "");
        assert_eq!(of_request(&head), None, "a REST request has no token");
        is_key(of_handshake(&head).as_ref())
    }

    #[test]
    fn fields_carry_a_secret() {
        for good in [
            "Authorization: Bearer k-e_y",
            "authorization: bEARER k-e_y",
            "Authorization: Bearer  \t k-e_y ",
            "X-API-Key: k-e_y",
            "x-api-key:\tk-e_y",
            "X-API-Key: k-e_y\r\nAuthorization: Bearer k-e_y",
            "X-API-Key: k-e_y\r\nX-API-Key: k-e_y",
        ] {
            assert!(field(good), "{good}");
        }
    }

    #[test]
    fn what_is_malformed_or_contradicts_itself_is_none() {
        for wrong in [
            "X-Other: k-e_y",
            "Authorization: k-e_y",
            "Authorization: Basic k-e_y",
            "Authorization: Bearerk-e_y",
            "Authorization: Bearer",
            "Authorization: Bearer k-e_y, Bearer k-e_y",
            "Authorization:",
            "X-API-Key:",
            "X-API-Key: K-E_Y",
            "X-API-Key: Bearer k-e_y",
            "X-API-Key: k-e_y\r\nX-API-Key: other",
            "X-API-Key: other\r\nAuthorization: Bearer k-e_y",
            "X-API-Key: k-e_y\r\nAuthorization: Basic k-e_y",
            "X-API-Key: k-e_y\r\nX-API-Key:",
        ] {
            assert!(!field(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_field_carries_any_bytes() {
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: caf\xc3\xa9 \xff x\r\n\r\n";
        let (head, _) = head::parse(bytes).unwrap().unwrap();
        assert_eq!(
            of_request(&head),
            Some(Credential::new(b"caf\xc3\xa9 \xff x"))
        );
    }

    #[test]
    fn a_subprotocol_carries_a_secret_beside_ours() {
        // printf k-e_y | base64
        for good in [
            "threadcast.v1, bearer.ay1lX3k",
            "bearer.ay1lX3k,threadcast.v1",
            "threadcast.v1, bearer.ay1lX3k=",
            "other,\tthreadcast.v1 , bearer.ay1lX3k, bearer.ay1lX3k",
            "threadcast.v1\r\nSec-WebSocket-Protocol: bearer.ay1lX3k",
        ] {
            assert!(protocol(good), "{good}");
        }
        for wrong in [
            "threadcast.v1",
            "bearer.ay1lX3k",
            "other, bearer.ay1lX3k",
            "threadcast.v1, bearer.k-e_y",
            "threadcast.v1, bearer.",
            "threadcast.v1, bearer.=",
            "threadcast.v1, bearer.ay1lX3k==",
            "threadcast.v1, bearer.ay1lX3l",
            "threadcast.v1, Bearer.ay1lX3k",
            "threadcast.v1, bearer.ay1lX3k, bearer.b3RoZXI",
        ] {
            assert!(!protocol(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_token_is_percent_decoded_once() {
        for good in [
            "token=k-e_y",
            "token=%6b-e%5Fy",
            "%74oken=k-e_y",
            "a=%zz&token=k-e_y&&b",
            "token=k-e_y&token=k-e_y",
        ] {
            assert!(query(good), "{good}");
        }
        for wrong in [
            "",
            "token",
            "token=",
            "Token=k-e_y",
            "token=k-e_y%",
            "token=%256b-e_y",
            "token=%ff",
            "token=k-e_y&token=other",
            "token=k-e_y&token=",
        ] {
            assert!(!query(wrong), "{wrong}");
        }
        let plus = head("/ws?token=a+b", "");
        assert_eq!(of_handshake(&plus), Some(Credential::new(b"a+b")));
    }

    #[test]
    fn all_ways_of_a_handshake_must_agree() {
        let fields =
            "X-API-Key: k-e_y\r\nSec-WebSocket-Protocol: threadcast.v1, bearer.ay1lX3k\r\n";
        assert!(is_key(
            of_handshake(&head("/ws?token=k-e_y", fields)).as_ref()
        ));
        assert_eq!(of_handshake(&head("/ws?token=other", fields)), None);
    }

    proptest! {
        #[test]
        fn every_way_carries_the_same_secret(key in "[!-~]{1,60}") {
            let expected = Some(Credential::new(key.as_bytes()));
            let percent: String = key.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let base64 = BASE64URL_NOPAD.encode(key.as_bytes());
            for head in [
                head("/ws", &format!("Authorization: Bearer {key}\r\n")),
                head("/ws", &format!("X-API-Key: {key}\r\n")),
                head("/ws", &format!("Sec-WebSocket-Protocol: threadcast.v1, bearer.{base64}\r\n")),
                head(&format!("/ws?token={percent}"), ""),
            ] {
                prop_assert_eq!(&of_handshake(&head), &expected);
            }
        }

        #[test]
        fn any_field_is_judged_without_panic(value in "[\\PC]{0,40}", query in "[!-\"$-~]{0,40}") {
            for name in ["Authorization", "X-API-Key", "Sec-WebSocket-Protocol"] {
                let _ = of_handshake(&head(&format!("/ws?{query}"), &format!("{name}: {value}\r\n")));
            }
        }
    }
}
