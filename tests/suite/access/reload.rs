//! Reloading the keys, also with an invalid file.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;

use serde_json::{Value, json};

use super::{API_KEY, KEYS, all_keys, expect_unauthorized, guarded, guarded_by, secret};
use crate::harness::{DEADLINE, Dial, Incoming, TestServer, WsClient, entry, in_time};

fn open(server: &TestServer, name: &str) -> WsClient {
    Dial::to(server.addr())
        .field("X-API-Key", secret(name))
        .connect()
}

/// All keys, with the entry of this one replaced by `instead`.
fn without(name: &str, instead: &str) -> String {
    let kept = KEYS.iter().filter(|(known, ..)| *known != name);
    let kept = kept.map(|(name, secret, rights)| entry(name, secret, rights));
    kept.chain([instead.to_owned()]).collect()
}

/// The error and the close frame of a connection whose key was withdrawn.
fn expect_withdrawn(client: &mut WsClient) {
    let Incoming::Text(text) = client.receive("an error") else {
        panic!("no error before the close")
    };
    let error: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(error["type"], "error", "{error}");
    assert_eq!(error["error"]["code"], "UNAUTHORIZED", "{error}");
    assert_eq!(client.close_code(), Some(4001));
}

#[test]
fn removed_key_ends_only_its_own_connections() {
    let (server, file) = guarded();
    let mut gone = [open(&server, "subscriber"), open(&server, "subscriber")];
    gone[0].subscribe("orders", "gone");
    let mut stay = [
        open(&server, "publisher"),
        open(&server, "nobody"),
        open(&server, "API"),
    ];
    stay[2].subscribe("orders", "stays");
    file.write(&without("subscriber", ""));
    server.reload_keys().unwrap();
    gone.iter_mut().for_each(expect_withdrawn);
    stay.iter_mut()
        .for_each(|client| assert!(client.fence().is_empty()));
    let fields = [("X-API-Key", API_KEY)];
    let topic = server.http().request("GET", "/topics/orders", &fields, "");
    assert_eq!(topic.expect(200)["subscribers"], 1);
    let fields = [("X-API-Key", secret("subscriber"))];
    let reply = server.http().request("GET", "/topics/orders", &fields, "");
    expect_unauthorized(&reply);
}

#[test]
fn removed_key_can_do_nothing_after_the_reload() {
    let (server, file) = guarded();
    let mut publisher = open(&server, "publisher");
    publisher.publish("orders", &json!(1));
    file.write(&without("publisher", ""));
    server.reload_keys().unwrap();
    let message = json!({"id": crate::harness::uuid_of(1), "payload": 2});
    let late = json!({"type": "publish", "topic": "orders", "message": message});
    publisher.try_send_bytes(&crate::harness::Frame::text(&late.to_string()).masked());
    expect_withdrawn(&mut publisher);
    let fields = [("X-API-Key", API_KEY)];
    let topic = server.http().request("GET", "/topics/orders", &fields, "");
    assert_eq!(topic.expect(200)["messages"], 1);
}

#[test]
fn key_with_changed_rights_must_reconnect() {
    let (server, file) = guarded();
    let mut before = open(&server, "nobody");
    let changed = entry("nobody", secret("nobody"), r#"publish = ["*"]"#);
    file.write(&without("nobody", &changed));
    server.reload_keys().unwrap();
    expect_withdrawn(&mut before);
    let mut after = open(&server, "nobody");
    assert_eq!(after.publish("orders", &json!(1)), 1);
    let fields = [("X-API-Key", secret("nobody"))];
    let mut http = server.http();
    http.request(
        "POST",
        "/topics/orders/messages",
        &fields,
        r#"{"payload":1}"#,
    )
    .expect(201);
    http.request("GET", "/topics/orders", &fields, "")
        .expect_problem(403, "FORBIDDEN");
}

#[test]
fn rest_connection_is_authorized_per_request() {
    let (server, file) = guarded();
    let mut http = server.http();
    let fields = [("X-API-Key", secret("admin"))];
    http.request("GET", "/health", &fields, "").expect(200);
    file.write(&without(
        "admin",
        &entry("admin", secret("admin"), "admin = false"),
    ));
    server.reload_keys().unwrap();
    http.request("GET", "/health", &fields, "")
        .expect_problem(403, "FORBIDDEN");
    file.write(&without("admin", ""));
    server.reload_keys().unwrap();
    expect_unauthorized(&http.request("GET", "/health", &fields, ""));
}

#[test]
fn reordered_keys_change_nothing() {
    let (server, file) = guarded();
    let mut clients = KEYS.map(|(name, ..)| open(&server, name));
    let mut keys = KEYS;
    keys.reverse();
    let text: String = keys
        .iter()
        .map(|(name, secret, rights)| format!("# {name}\n{}", entry(name, secret, rights)))
        .collect();
    file.write(&text);
    server.reload_keys().unwrap();
    clients
        .iter_mut()
        .for_each(|client| assert!(client.fence().is_empty()));
}

#[test]
fn invalid_file_changes_nothing() {
    let (server, file) = guarded();
    let mut client = open(&server, "subscriber");
    client.subscribe("orders", "c");
    let twice = all_keys() + &all_keys();
    for broken in ["", "[[key]]", "nonsense", twice.as_str()] {
        file.write(broken);
        let error = server.reload_keys().unwrap_err();
        assert_eq!(error.file, file.path());
        assert!(!error.reason.is_empty() && !error.to_string().contains('\n'));
    }
    std::fs::remove_file(file.path()).unwrap();
    server.reload_keys().unwrap_err();
    open(&server, "publisher").publish("orders", &json!("still"));
    assert_eq!(client.next_json()["message"]["payload"], "still");
    let fields = [("X-API-Key", secret("admin"))];
    server
        .http()
        .request("GET", "/health", &fields, "")
        .expect(200);
}

#[test]
fn server_without_a_keys_file_ignores_reload() {
    let server = TestServer::start();
    let mut client = server.ws();
    server.reload_keys().unwrap();
    client.fence();
}

/// A reload closes the connections of a withdrawn key in any state.
#[test]
fn reload_closes_every_connection_of_a_withdrawn_key() {
    let (server, file) = guarded();
    let request = Dial::to(server.addr())
        .field("X-API-Key", secret("nobody"))
        .request();
    let dial = || {
        let mut stream = TcpStream::connect(server.addr()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    for _ in 0..5 {
        file.write(&all_keys());
        server.reload_keys().unwrap();
        file.write(&without("nobody", ""));
        let streams = thread::scope(|scope| {
            let dialling: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| [(); 10].map(|()| dial())))
                .collect();
            server.reload_keys().unwrap();
            let streams = dialling
                .into_iter()
                .flat_map(|dialling| dialling.join().unwrap());
            streams.collect::<Vec<_>>()
        });
        for mut stream in streams {
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            let mut said = Vec::new();
            let ended = stream.read_to_end(&mut said);
            assert!(!matches!(ended, Err(error) if error.kind() == ErrorKind::WouldBlock));
            let said = String::from_utf8_lossy(&said);
            let is_answer = said.is_empty()
                || said.starts_with("HTTP/1.1 101 ")
                || said.starts_with("HTTP/1.1 401 ");
            assert!(is_answer, "{said}");
        }
    }
}

#[test]
fn withdrawn_client_that_does_not_read_is_closed() {
    let (server, file) = guarded_by(&entry(
        "slow",
        "slow-secret",
        "publish = [\"*\"]\nsubscribe = [\"*\"]",
    ));
    let mut slow = Dial::to(server.addr())
        .field("X-API-Key", "slow-secret")
        .receive_buffer(4 << 10)
        .connect();
    slow.subscribe("orders", "slow");
    let mut publisher = open(&server, "API");
    publisher.publish_padded("orders", 1, 60, 64 << 10);
    file.write(&entry("other", "other-secret", ""));
    in_time("the reload", || server.reload_keys().unwrap());
    let fields = [("X-API-Key", API_KEY)];
    let topic = server.http().request("GET", "/topics/orders", &fields, "");
    assert_eq!(topic.expect(200)["subscribers"], 0);
}
