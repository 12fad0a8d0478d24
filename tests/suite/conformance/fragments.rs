//! Fragmentation (group 5).

use super::{Answer, Closed, Pong, Refused, Reply, check, expect, frame, ping, text, unfinished};
use crate::harness::{Opcode, TestServer};
use Opcode::{Binary, Close, Continuation, Ping, Text};

/// Name, frames, expected answers.
type Case = (&'static str, Vec<Vec<u8>>, Vec<Answer>);

/// A ping request in three parts.
fn thirds(name: &str) -> [Vec<u8>; 3] {
    let request = ping(name).into_bytes();
    [&request[..4], &request[4..11], &request[11..]].map(<[u8]>::to_vec)
}

#[test]
fn fragments_are_joined_whatever_control_frames_come_between() {
    let server = TestServer::start();
    let [one, two, three] = thirds("a");
    let pong = |payload: &[u8]| Pong(payload.to_vec());
    let cases: [Case; 6] = [
        (
            "in three",
            vec![
                unfinished(Text, &one),
                unfinished(Continuation, &two),
                frame(Continuation, &three),
            ],
            vec![Reply("a")],
        ),
        (
            "with empty ones at the start, in the middle and at the end",
            vec![
                unfinished(Text, b""),
                unfinished(Continuation, &[&one[..], &two].concat()),
                unfinished(Continuation, b""),
                unfinished(Continuation, &three),
                frame(Continuation, b""),
            ],
            vec![Reply("a")],
        ),
        (
            "with pings between",
            vec![
                unfinished(Text, &one),
                frame(Ping, b"1"),
                unfinished(Continuation, &two),
                frame(Ping, b"2"),
                frame(Continuation, &three),
                frame(Ping, b"3"),
            ],
            vec![pong(b"1"), pong(b"2"), Reply("a"), pong(b"3")],
        ),
        (
            "one message after the other",
            vec![
                unfinished(Text, &[&one[..], &two].concat()),
                frame(Continuation, &three),
                text(&ping("b")),
            ],
            vec![Reply("a"), Reply("b")],
        ),
        (
            "a binary one",
            vec![
                unfinished(Binary, &one),
                frame(Continuation, &two),
                text(&ping("b")),
            ],
            vec![Refused, Reply("b")],
        ),
        (
            "an empty one of empty fragments",
            vec![unfinished(Text, b""), frame(Continuation, b"")],
            vec![Refused],
        ),
    ];
    for (case, frames, expected) in cases {
        check(&server, case, &frames, &expected);
    }
}

#[test]
fn misplaced_fragments_are_closed_with_1002() {
    let server = TestServer::start();
    let [one, two, three] = thirds("a");
    let cases: [Case; 7] = [
        (
            "a continuation of nothing",
            vec![frame(Continuation, b"{}"), text(&ping("b"))],
            vec![Closed(1002)],
        ),
        (
            "an unfinished continuation of nothing",
            vec![unfinished(Continuation, b"{}"), text(&ping("b"))],
            vec![Closed(1002)],
        ),
        (
            "a continuation after a whole message",
            vec![text(&ping("b")), frame(Continuation, &three)],
            vec![Reply("b"), Closed(1002)],
        ),
        (
            "a text among the fragments of another",
            vec![
                unfinished(Text, &one),
                text(&ping("b")),
                frame(Continuation, &two),
            ],
            vec![Closed(1002)],
        ),
        (
            "a binary among the fragments of a text",
            vec![unfinished(Text, &one), frame(Binary, &two)],
            vec![Closed(1002)],
        ),
        (
            "a ping in fragments",
            vec![unfinished(Ping, b"1"), frame(Continuation, b"2")],
            vec![Closed(1002)],
        ),
        (
            "a close in fragments",
            vec![unfinished(Close, &[3]), frame(Continuation, &[0xe8])],
            vec![Closed(1002)],
        ),
    ];
    for (case, frames, expected) in cases {
        check(&server, case, &frames, &expected);
    }
}

#[test]
fn close_among_fragments_is_answered_and_discards_the_message() {
    let server = TestServer::start();
    let [one, _, three] = thirds("a");
    check(
        &server,
        "a close among fragments",
        &[
            unfinished(Text, &one),
            frame(Close, &1000u16.to_be_bytes()),
            frame(Continuation, &three),
        ],
        &[Closed(1000)],
    );
}

/// The server frees the memory of the large message before it waits, and must keep the bytes of the next one.
#[test]
fn partial_message_behind_a_large_one_arrives_intact() {
    let server = TestServer::start();
    let mut client = server.ws();
    let mut large = ping("large").into_bytes();
    large.resize(100 << 10, b' ');
    let large = frame(Text, &large);
    let [one, two, three] = thirds("next");
    let next = [
        unfinished(Text, &one),
        unfinished(Continuation, &two),
        frame(Continuation, &three),
    ]
    .concat();
    for cut in 0..=next.len() {
        let case = format!("cut at {cut}");
        client.send_bytes(&[&large, &next[..cut]].concat());
        expect(&mut client, &Reply("large"), &case);
        client.send_bytes(&next[cut..]);
        expect(&mut client, &Reply("next"), &case);
    }
}
