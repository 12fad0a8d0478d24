//! Limits (group 9): a message at the limit arrives, one byte more is closed with 1009, however it is split; an announced
//! length alone uses no memory.

use super::{Closed, Reply, check, frame, ping, text, unfinished};
use crate::harness::{
    ChildServer, Dial, Frame, HttpClient, Incoming, Opcode, TestServer, eventually,
};

const LIMIT: usize = 2000;

/// A ping request of exactly this length.
fn padded(name: &str, length: usize) -> Vec<u8> {
    let mut request = ping(name).into_bytes();
    request.resize(length, b' ');
    request
}

fn in_fragments(message: &[u8], of: usize) -> Vec<Vec<u8>> {
    let mut frames = vec![unfinished(Opcode::Text, b"")];
    frames.extend(
        message
            .chunks(of)
            .map(|piece| unfinished(Opcode::Continuation, piece)),
    );
    frames.push(frame(Opcode::Continuation, b""));
    frames
}

#[test]
fn message_at_the_limit_arrives_and_one_byte_more_is_closed_with_1009() {
    let server = TestServer::with(|config| config.max_message_bytes = LIMIT);
    let (fits, over) = (padded("a", LIMIT), padded("a", LIMIT + 1));
    check(
        &server,
        "fits",
        &[frame(Opcode::Text, &fits)],
        &[Reply("a")],
    );
    check(
        &server,
        "over",
        &[frame(Opcode::Text, &over)],
        &[Closed(1009)],
    );
    check(
        &server,
        "binary",
        &[frame(Opcode::Binary, &over)],
        &[Closed(1009)],
    );
    for of in [100, 1000, LIMIT] {
        check(
            &server,
            ("fits in", of),
            &in_fragments(&fits, of),
            &[Reply("a")],
        );
        check(
            &server,
            ("over in", of),
            &in_fragments(&over, of),
            &[Closed(1009)],
        );
    }
}

#[test]
fn announced_length_over_the_limit_is_closed_with_1009_at_once() {
    let server = TestServer::start();
    for length in [(1 << 20) + 1, 1 << 31, 1 << 32, 1 << 62, 1 << 63, u64::MAX] {
        for opcode in [0x81, 0x82, 0x01] {
            check(
                &server,
                (opcode, length),
                &[text(&ping("a")), Frame::announcing(opcode, length)],
                &[Reply("a"), Closed(1009)],
            );
        }
        check(
            &server,
            ("a continuation", length),
            &[
                unfinished(Opcode::Text, b"{"),
                Frame::announcing(0x80, length),
            ],
            &[Closed(1009)],
        );
    }
}

#[test]
fn announced_payloads_that_never_arrive_use_no_memory() {
    let child = ChildServer::start(&[("PUBSUB_MAX_MESSAGE_BYTES", "67108864")]);
    let connect = || Dial::to(child.addr()).connect();
    let mut clients: Vec<_> = (0..50).map(|_| connect()).collect();
    for client in &mut clients {
        client.fence();
    }
    let before = child.peak_resident_bytes();
    // Each announcement is within the limit; together they are 3.1 GiB.
    for client in &mut clients {
        client.send_bytes(&Frame::announcing(0x81, 64 << 20));
        client.send_bytes(b"{");
    }
    let mut http = HttpClient::connect(child.addr());
    http.get("/health").expect(200);
    // These announcements exceed the limit.
    for _ in 0..50 {
        let mut client = connect();
        client.send_bytes(&Frame::announcing(0x81, 1 << 62));
        assert_eq!(client.receive("a close frame"), Incoming::Close(Some(1009)));
        client.expect_orderly_end();
    }
    let grown = child.peak_resident_bytes() - before;
    assert!(grown < 8 << 20, "{grown} bytes more at the peak");
    drop(clients);
    eventually("the connections are gone", || {
        let mut http = HttpClient::connect(child.addr());
        http.get("/health").expect(200)["connections"] == 2
    });
}
