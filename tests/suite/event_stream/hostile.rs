//! Peers that do not behave: bytes behind the request, ids of every kind, cuts at every moment.

use std::io::Write;
use std::net::TcpStream;

use serde_json::json;

use crate::harness::{HttpClient, StreamClient, TestServer, eventually};

const PATH: &str = "/topics/orders/events";

#[test]
fn requests_behind_the_stream_are_never_answered_and_a_flood_ends_it() {
    let server = TestServer::with_topic("orders");
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: a\r\n\r\n");
    let pipelined = format!("{request}GET /topics HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut stream = StreamClient::over(TcpStream::connect(server.addr()).unwrap(), &pipelined);
    stream.expect("ack");
    assert!(stream.try_send_raw(b"DELETE /topics/orders HTTP/1.1\r\nHost: a\r\n\r\n"));
    server.ws().publish("orders", &json!(1));
    stream.expect("event");
    let junk = [b'x'; 8 << 10];
    eventually("the flood ends", || {
        stream.try_send_raw(&junk);
        server.topic("orders")["subscribers"] == 0
    });
    server.await_metric("pubsub_disconnects_total{reason=\"policy\"}", 1);
}

#[test]
fn ids_of_every_kind_get_an_answer() {
    let server = TestServer::with_topic("orders");
    let long = format!("{}:1", "e".repeat(4000));
    for id in [
        "",
        ":",
        "::",
        "1",
        "a",
        "a:",
        ":1",
        "a:b",
        "a:-1",
        "a:1:1",
        "a:1.5",
        "a:0x1",
        "a b:1",
        "a:18446744073709551616x",
        "null",
        "\u{e4}:1",
        long.as_str(),
    ] {
        let mut http = HttpClient::connect(server.addr());
        let reply = http.request("GET", PATH, &[("Last-Event-ID", id)], "");
        reply.expect_problem(422, "VALIDATION_ERROR");
    }
    // Well formed, of an epoch that never was.
    for id in ["a:0", "a:007", "a:18446744073709551616", "x.y-z_:1"] {
        let mut stream = StreamClient::resume(server.addr(), PATH, id);
        assert_eq!(stream.expect("ack").data["recovered"], false, "{id}");
        assert_eq!(stream.expect("gap").data["gap"]["reason"], "epoch_changed");
    }
    assert_eq!(server.panics(), 0);
}

#[test]
fn peers_that_cut_at_any_moment_leave_nothing_behind() {
    let server = TestServer::with_topic("orders");
    let request = format!("GET {PATH}?last_n=100 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut publisher = server.ws();
    publisher.publish_padded("orders", 1, 100, 2000);
    for cut in 0..request.len() {
        let mut peer = TcpStream::connect(server.addr()).unwrap();
        peer.write_all(&request.as_bytes()[..cut]).unwrap();
    }
    for _ in 0..100 {
        let mut peer = TcpStream::connect(server.addr()).unwrap();
        peer.write_all(request.as_bytes()).unwrap();
        publisher.publish("orders", &json!(1));
    }
    server.await_subscribers("orders", 0);
    assert_eq!(server.panics(), 0);
    server.stream("orders", "").expect("ack");
}
