//! `X-Forwarded-For`: whom `/connections` shows as the client, and what a client cannot make the server believe.

use serde_json::Value;

use crate::harness::{Dial, HttpClient, TestServer, WsClient};

fn trusting(proxies: &[&str]) -> TestServer {
    let server = TestServer::with(|config| {
        config.trusted_proxies = proxies.iter().map(|&proxy| proxy.to_owned()).collect();
    });
    server.create_topic("orders");
    server
}

/// A WebSocket whose handshake has these fields, and its client as the server sees it.
fn client_of(server: &TestServer, forwarded: &[&str]) -> (WsClient, String) {
    let dial = Dial::to(server.addr());
    let dial = forwarded
        .iter()
        .fold(dial, |dial, value| dial.field("X-Forwarded-For", value));
    let mut ws = dial.connect();
    ws.subscribe("orders", "c");
    let list = HttpClient::connect(server.addr())
        .get("/connections")
        .expect(200);
    let address = address_of(&list, |line| line["subscriptions"][0]["client_id"] == "c");
    (ws, address)
}

fn address_of(list: &Value, is_it: impl Fn(&Value) -> bool) -> String {
    let lines = list["connections"].as_array().unwrap();
    let line = lines.iter().find(|line| is_it(line)).expect("it is listed");
    line["address"].as_str().unwrap().to_owned()
}

#[test]
fn client_behind_a_trusted_proxy_is_shown() {
    let server = trusting(&["127.0.0.1", "10.0.0.0/8"]);
    for (forwarded, shown) in [
        (&["203.0.113.5"][..], "203.0.113.5"),
        (&["203.0.113.5:51234"], "203.0.113.5:51234"),
        (&["[2001:db8::5]:443"], "[2001:db8::5]:443"),
        (&["2001:db8::5"], "2001:db8::5"),
        (&["::ffff:203.0.113.5"], "203.0.113.5"),
        (&["203.0.113.5, 10.0.0.2, 10.0.0.1"], "203.0.113.5"),
        (&["203.0.113.5", "10.0.0.2", "10.0.0.1"], "203.0.113.5"),
        (&["10.9.9.9,10.0.0.1"], "10.9.9.9"),
    ] {
        let (_ws, address) = client_of(&server, forwarded);
        assert_eq!(address, shown, "{forwarded:?}");
    }
}

#[test]
fn forged_addresses_are_not_believed() {
    let server = trusting(&["127.0.0.1", "10.0.0.0/8"]);
    for forwarded in [
        &["198.51.100.1, 203.0.113.5"][..],
        &["198.51.100.1", "203.0.113.5"],
        &["10.0.0.1, 203.0.113.5"],
        &["127.0.0.1,203.0.113.5,10.0.0.1"],
        &["'; drop table, 203.0.113.5"],
        &[",,,,203.0.113.5"],
    ] {
        let (_ws, address) = client_of(&server, forwarded);
        assert_eq!(address, "203.0.113.5", "{forwarded:?}");
    }
}

#[test]
fn unusable_header_leaves_the_address_of_the_proxy() {
    let server = trusting(&["127.0.0.1"]);
    for forwarded in [
        &[][..],
        &[""],
        &["unknown"],
        &["203.0.113.5, unknown"],
        &["203.0.113.5", ""],
        &["203.0.113.256"],
        &["203.0.113.5:99999"],
        &["for=203.0.113.5"],
    ] {
        let (_ws, address) = client_of(&server, forwarded);
        assert!(
            address.starts_with("127.0.0.1:"),
            "{address} of {forwarded:?}"
        );
    }
}

#[test]
fn header_of_anybody_else_is_ignored() {
    for proxies in [&[][..], &["10.0.0.0/8", "::1"]] {
        let server = trusting(proxies);
        for forwarded in ["203.0.113.5", "10.0.0.1", "127.0.0.1"] {
            let (_ws, address) = client_of(&server, &[forwarded]);
            assert!(address.starts_with("127.0.0.1:"), "{address}");
        }
    }
}

/// A proxy sends the requests of many clients over one connection.
#[test]
fn each_request_on_a_connection_has_its_own_client() {
    let server = trusting(&["127.0.0.1"]);
    let mut http = HttpClient::connect(server.addr());
    let mut seen = |forwarded: &[(&str, &str)]| {
        let list = http
            .request("GET", "/connections", forwarded, "")
            .expect(200);
        address_of(&list, |line| {
            line["protocol"] == "http" && line["idle_sec"] == 0
        })
    };
    assert_eq!(seen(&[("X-Forwarded-For", "203.0.113.5")]), "203.0.113.5");
    assert_eq!(seen(&[("x-forwarded-for", "2001:db8::1")]), "2001:db8::1");
    assert!(seen(&[]).starts_with("127.0.0.1:"));
    assert_eq!(seen(&[("X-Forwarded-For", "203.0.113.6")]), "203.0.113.6");
}

/// The address of the client changes nothing of what its page may do.
#[test]
fn origin_rule_stays_that_of_the_host() {
    let server = trusting(&["127.0.0.1"]);
    let mut http = HttpClient::connect(server.addr());
    let own = format!("http://{}", server.addr());
    for (origin, status) in [(own.as_str(), 201), ("http://203.0.113.5", 403)] {
        let fields = [("X-Forwarded-For", "203.0.113.5"), ("Origin", origin)];
        let body = format!(r#"{{"name":"t{status}"}}"#);
        assert_eq!(
            http.request("POST", "/topics", &fields, &body).status,
            status
        );
    }
}
