//! A server that takes everything and answers nothing: each call ends at its deadline.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use threadcast::client::{Client, Error, Reconnect, Start};

use super::hostile::{Impostor, switch};
use super::url;
use crate::harness::{DEADLINE, in_time};

/// Long enough for a busy machine to get to the point where nothing is answered.
const SHORT: Duration = Duration::from_secs(1);

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
        let socket = socket2::SockRef::from(&stream);
        socket.set_recv_buffer_size(64 << 10).unwrap();
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
    let huge = "x".repeat(8 << 20);
    let error = in_time("writing", || client.publish("t", &huge)).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
}

/// Whether the peer is gone, seen by writing to it.
fn is_cut(stream: &std::net::TcpStream) -> bool {
    std::io::Write::write_all(&mut &*stream, &[0x8a, 0]).is_err()
}

/// Says nothing but a byte now and then, for ever.
fn trickle(mut stream: std::net::TcpStream) {
    while std::io::Write::write_all(&mut stream, b"H").is_ok() {
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn bytes_that_come_now_and_then_extend_no_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || trickle(listener.accept().unwrap().0));
    let error = in_time("connecting", || impatient(addr)).unwrap_err();
    assert!(
        matches!(error, Error::Timeout { .. } | Error::Protocol { .. }),
        "{error:?}"
    );
    server.join().unwrap();

    let impostor = Impostor::silent_in_the_handshake(trickle);
    let client = impatient(impostor.addr()).unwrap();
    let error = in_time("subscribing", || client.subscribe("t", Start::Now)).unwrap_err();
    assert!(
        matches!(error, Error::Timeout { .. } | Error::Protocol { .. }),
        "{error:?}"
    );
}

#[test]
fn a_server_that_falls_silent_is_noticed_by_both_kinds_of_connection() {
    let impostor = Impostor::that_acks_and_falls_silent();
    let client = Client::builder(&url(impostor.addr()))
        .heartbeat(Duration::from_millis(500))
        .reconnect(Reconnect::Never)
        .connect()
        .unwrap();
    let mut subscription = client.subscribe("t", Start::Now).unwrap();
    let error = in_time("noticing", || subscription.recv()).unwrap_err();
    assert!(error.to_string().contains("no answer to pings"), "{error}");
    let error = in_time("noticing", || client.publish("t", &1)).unwrap_err();
    assert!(error.to_string().contains("no answer to pings"), "{error}");
    assert!(matches!(error, Error::Unconfirmed { .. }), "{error:?}");
}

#[test]
fn a_message_that_was_sent_once_stays_unconfirmed_whatever_the_next_attempt_says() {
    let shaken = AtomicU64::new(0);
    let once = move |key: &str| match shaken.fetch_add(1, Ordering::SeqCst) {
        // Every other connection takes a message and breaks, the next is refused for good.
        even if even % 2 == 0 => switch(key),
        _ => b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_vec(),
    };
    let impostor = Impostor::shaking(once, |mut stream| {
        let _message = std::io::Read::read(&mut stream, &mut [0; 1024]);
    });
    let builder = Client::builder(&url(impostor.addr())).request_timeout(DEADLINE);
    let client = builder.retry_unconfirmed(true).connect().unwrap();
    let error = client.publish("t", &1).unwrap_err();
    assert!(matches!(error, Error::Unconfirmed { .. }), "{error:?}");
    let mut pipeline = client.pipeline("t", 4);
    pipeline.send(&1).unwrap();
    let Err(Error::Pipeline { failures }) = pipeline.finish() else {
        panic!("nothing can be published there")
    };
    assert!(
        matches!(failures[0].error, Error::Unconfirmed { .. }),
        "{failures:?}"
    );
}
