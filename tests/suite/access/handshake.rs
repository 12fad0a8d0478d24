//! The WebSocket handshake with every form of a credential.

use data_encoding::BASE64URL_NOPAD;

use super::{API_KEY, WRONG, expect_unauthorized, guarded};
use crate::harness::{Dial, HttpClient, Reply, TestServer};

fn dial(server: &TestServer) -> Dial {
    Dial::to(server.addr())
}

fn answer(server: &TestServer, dial: &Dial) -> Reply {
    let mut http = HttpClient::connect(server.addr());
    http.send_raw(dial.request().as_bytes());
    http.read_reply()
}

fn pair(secret: &str) -> String {
    let encoded = BASE64URL_NOPAD.encode(secret.as_bytes());
    format!("threadcast.v1, bearer.{encoded}")
}

/// One secret in each form.
fn every_way(server: &TestServer, secret: &str) -> [Dial; 5] {
    let percent: String = secret.bytes().map(|byte| format!("%{byte:02x}")).collect();
    [
        dial(server).field("Authorization", &format!("BEARER {secret}")),
        dial(server).field("X-API-Key", secret),
        dial(server).field("Sec-WebSocket-Protocol", &pair(secret)),
        dial(server).target(&format!("/ws?token={secret}")),
        dial(server).target(&format!("/ws?a=%zz&token={percent}&b")),
    ]
}

#[test]
fn valid_credential_is_accepted_in_every_form() {
    let (server, _file) = guarded();
    for secret in [API_KEY, "nobody-secret"] {
        for way in every_way(&server, secret) {
            let mut client = way.connect();
            client.fence();
        }
    }
}

#[test]
fn invalid_credential_gets_the_same_refusal_in_every_form() {
    let (server, _file) = guarded();
    for way in every_way(&server, WRONG) {
        expect_unauthorized(&answer(&server, &way));
    }
    expect_unauthorized(&answer(&server, &dial(&server)));
    for malformed in [
        dial(&server).field("Authorization", &format!("Basic {API_KEY}")),
        dial(&server).field("Authorization", API_KEY),
        dial(&server).field("Sec-WebSocket-Protocol", "threadcast.v1"),
        dial(&server).field(
            "Sec-WebSocket-Protocol",
            &format!("threadcast.v1, {API_KEY}"),
        ),
        dial(&server).field(
            "Sec-WebSocket-Protocol",
            &format!("threadcast.v1, bearer.{API_KEY}!"),
        ),
        dial(&server).field("Sec-WebSocket-Protocol", "bearer.dGhlLWFwaS1rZXk"),
        dial(&server).target("/ws?token"),
        dial(&server).target("/ws?token=%zz"),
        dial(&server).target(&format!("/ws?Token={API_KEY}")),
    ] {
        expect_unauthorized(&answer(&server, &malformed));
    }
}

#[test]
fn two_different_credentials_are_refused() {
    let (server, _file) = guarded();
    let both = |token: &str| {
        dial(&server)
            .field("Sec-WebSocket-Protocol", &pair(API_KEY))
            .field("X-API-Key", API_KEY)
            .target(&format!("/ws?token={token}"))
    };
    assert_eq!(answer(&server, &both(API_KEY)).status, 101);
    for other in [WRONG, "admin-secret", ""] {
        expect_unauthorized(&answer(&server, &both(other)));
    }
}

#[test]
fn only_the_own_subprotocol_is_echoed() {
    let open = TestServer::start();
    let (guarded, _file) = guarded();
    let echoed = |server: &TestServer, offered: &str| {
        let way = dial(server).field("Sec-WebSocket-Protocol", offered);
        let reply = answer(server, &way);
        assert_eq!(reply.status, 101, "{reply}");
        assert!(!reply.to_string().contains("bearer"), "{reply}");
        reply.header("Sec-WebSocket-Protocol").map(str::to_owned)
    };
    let ours = Some("threadcast.v1".to_owned());
    assert_eq!(echoed(&guarded, &pair(API_KEY)), ours);
    assert_eq!(echoed(&guarded, &format!("mqtt, {}=", pair(API_KEY))), ours);
    assert_eq!(echoed(&open, "threadcast.v1"), ours);
    assert_eq!(echoed(&open, &format!("mqtt, {}", pair(WRONG))), ours);
    assert_eq!(echoed(&open, "mqtt, threadcast.v2, Threadcast.v1"), None);
    assert_eq!(echoed(&open, "bearer.eA"), None);
}

#[test]
fn without_keys_any_credential_is_accepted() {
    let server = TestServer::start();
    for way in every_way(&server, WRONG) {
        way.connect().fence();
    }
}

#[test]
fn unauthorized_handshake_reveals_no_other_error() {
    let (server, _file) = guarded();
    expect_unauthorized(&server.http().get("/ws"));
    let foreign = dial(&server).field("Origin", "http://evil.example");
    expect_unauthorized(&answer(&server, &foreign));
    let with_key = foreign.field("X-API-Key", API_KEY);
    answer(&server, &with_key).expect_problem(403, "FORBIDDEN");
}
