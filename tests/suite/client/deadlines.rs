//! A server that takes everything and answers nothing: each call ends at its deadline.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use threadcast::client::{Client, Error, Start};

use super::hostile::Impostor;
use super::url;
use crate::harness::in_time;

const SHORT: Duration = Duration::from_millis(150);

fn impatient(addr: std::net::SocketAddr) -> Result<Client, Error> {
    let builder = Client::builder(&url(addr));
    builder
        .connect_timeout(SHORT)
        .request_timeout(SHORT)
        .connect()
}

/// Keeps connections open and says nothing on them.
fn mute() -> Impostor {
    Impostor::speaking(|stream| {
        let mut stream = stream;
        while matches!(std::io::Read::read(&mut stream, &mut [0; 1024]), Ok(1..)) {}
    })
}

#[test]
fn connecting_ends_at_its_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let before = Instant::now();
    let error = in_time("connecting", || impatient(listener.local_addr().unwrap())).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    assert!(before.elapsed() >= SHORT);
}

#[test]
fn publishing_without_an_ack_ends_at_its_deadline_and_says_that_nobody_knows() {
    let impostor = mute();
    let client = impatient(impostor.addr()).unwrap();
    let error = in_time("publishing", || client.publish("t", &1)).unwrap_err();
    let Error::Unconfirmed { id, source } = &error else {
        panic!("{error:?}")
    };
    assert!(matches!(**source, Error::Timeout { .. }), "{source:?}");
    assert!(error.to_string().contains(id), "{error}");
    let mut pipeline = client.pipeline("t", 4);
    pipeline.send(&1).unwrap();
    pipeline.send(&2).unwrap();
    let error = in_time("a pipeline", || pipeline.finish()).unwrap_err();
    assert!(
        matches!(&error, Error::Pipeline { failures } if failures.len() == 2),
        "{error:?}"
    );
}

#[test]
fn subscribing_ends_at_its_deadline() {
    let impostor = mute();
    let client = impatient(impostor.addr()).unwrap();
    let error = in_time("subscribing", || client.subscribe("t", Start::Now)).unwrap_err();
    assert!(
        matches!(error, Error::Timeout { what: "ack", .. }),
        "{error:?}"
    );
}

#[test]
fn a_message_larger_than_all_buffers_does_not_wait_for_ever_to_be_written() {
    let impostor = Impostor::speaking(|stream| {
        // Reads nothing; the stream is kept until the client gives up.
        let mut byte = [0];
        while matches!(stream.peek(&mut byte), Ok(1..)) {
            std::thread::park_timeout(Duration::from_millis(10));
            if stream.take_error().is_err() {
                break;
            }
            if is_cut(&stream) {
                break;
            }
        }
    });
    let client = impatient(impostor.addr()).unwrap();
    let huge = "x".repeat(32 << 20);
    let error = in_time("writing", || client.publish("t", &huge)).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
}

/// Whether the peer is gone, seen by writing to it.
fn is_cut(stream: &std::net::TcpStream) -> bool {
    std::io::Write::write_all(&mut &*stream, &[0x8a, 0]).is_err()
}
