//! Keys: sent in a header, never shown, and a permanent error if they are wrong.

use threadcast::client::{Client, Error, Start};

use super::{builder, client_of, next_event};
use crate::harness::{DEADLINE, TestServer, TextFile, entry};

const KEY: &str = "s3cret-of-the-test";

fn guarded() -> TestServer {
    TestServer::with(|config| config.api_key = Some(threadcast::ApiKey::new(KEY).unwrap()))
}

#[test]
fn key_is_presented_by_every_kind_of_request() {
    let server = guarded();
    let client = builder(server.addr()).key(KEY).connect().unwrap();
    client.create_topic("orders").unwrap();
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    client.publish("orders", &1).unwrap();
    assert_eq!(next_event(&mut subscription).0, 1);
    let shown = format!(
        "{client:?} {subscription:?} {:?}",
        builder(server.addr()).key(KEY)
    );
    assert!(!shown.contains(KEY), "{shown}");
}

#[test]
fn liveness_check_needs_no_key() {
    let server = guarded();
    builder(server.addr()).check_alive().unwrap();
    builder(server.addr())
        .key("a wrong one")
        .check_alive()
        .unwrap_err();
    let addr = server.addr();
    drop(server);
    let error = builder(addr).check_alive().unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
}

#[test]
fn wrong_key_is_a_permanent_error_that_does_not_contain_the_key() {
    let server = guarded();
    for client in [
        builder(server.addr()).key("another-s3cret").connect(),
        builder(server.addr()).connect(),
    ] {
        let error = client.unwrap_err();
        assert_eq!(error.code(), Some("UNAUTHORIZED"), "{error:?}");
        assert!(error.to_string().contains("give a valid key"), "{error}");
        assert!(
            !format!("{error} {error:?}").contains("s3cret"),
            "{error:?}"
        );
    }
    for key in ["", "with space", "new\nline"] {
        let error = builder(server.addr()).key(key).connect().unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    }
    let url = format!("ws://{}/ws?token={KEY}", server.addr());
    let error = Client::connect(&url).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(KEY), "{error:?}");
}

#[test]
fn key_without_a_right_is_refused_and_keeps_its_other_rights() {
    let keys = entry("reader", KEY, r#"subscribe = ["orders"]"#)
        + &entry("admin", "adm1n", "admin = true");
    let file = TextFile::new(&keys);
    let server = TestServer::with(|config| config.keys_file = Some(file.path().to_owned()));
    let admin = builder(server.addr()).key("adm1n").connect().unwrap();
    admin.create_topic("orders").unwrap();
    let reader = builder(server.addr()).key(KEY).connect().unwrap();
    for refused in [
        reader.publish("orders", &1).map(drop),
        reader.create_topic("other").map(drop),
        reader.subscribe("other", Start::Now).map(drop),
    ] {
        assert_eq!(refused.unwrap_err().code(), Some("FORBIDDEN"));
    }
    assert!(reader.subscribe("orders", Start::Now).is_ok());
}

#[test]
fn withdrawn_key_ends_the_subscription_permanently() {
    let file = TextFile::new(&entry(
        "both",
        KEY,
        "publish = [\"*\"]\nsubscribe = [\"*\"]\nadmin = true",
    ));
    let server = TestServer::with(|config| config.keys_file = Some(file.path().to_owned()));
    let client = builder(server.addr()).key(KEY).connect().unwrap();
    client.create_topic("orders").unwrap();
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    file.write(&entry("another", "another", "admin = true"));
    server.reload_keys().unwrap();
    let error = subscription.recv_timeout(DEADLINE).unwrap_err();
    assert_eq!(error.code(), Some("UNAUTHORIZED"), "{error:?}");
    assert!(subscription.is_over());
    let error = client.publish("orders", &1).unwrap_err();
    assert_eq!(error.code(), Some("UNAUTHORIZED"), "{error:?}");
}

#[test]
fn server_without_keys_ignores_a_presented_key() {
    let server = TestServer::with_topic("orders");
    let client = builder(server.addr()).key(KEY).connect().unwrap();
    client.publish("orders", &1).unwrap();
    assert_eq!(client_of(&server).topic("orders").unwrap().seq, 1);
}
