//! A server that reads everything and answers nothing: each call ends at its deadline.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use threadcast::client::{Client, Error, Reconnect, Start};

use super::hostile::{FakeServer, switch};
use super::url;
use crate::harness::{DEADLINE, in_time};

/// Long enough to connect on a busy machine.
const SHORT: Duration = Duration::from_secs(1);

fn client_with_short_timeouts(addr: std::net::SocketAddr) -> Result<Client, Error> {
    let builder = Client::builder(&url(addr));
    builder
        .connect_timeout(SHORT)
        .request_timeout(SHORT)
        .connect()
}

/// Keeps connections open and sends nothing.
fn silent_server() -> FakeServer {
    FakeServer::new(|stream| {
        let mut stream = stream;
        while matches!(std::io::Read::read(&mut stream, &mut [0; 1024]), Ok(1..)) {}
    })
}

#[test]
fn connecting_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let before = Instant::now();
    let error = in_time("connecting", || {
        client_with_short_timeouts(listener.local_addr().unwrap())
    })
    .unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    assert!(before.elapsed() >= SHORT);
}

#[test]
fn publish_without_an_ack_times_out_as_unconfirmed() {
    let fake = silent_server();
    let client = client_with_short_timeouts(fake.addr()).unwrap();
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
        matches!(&error, Error::Pipeline { failed } if failed.len() == 2),
        "{error:?}"
    );
}

#[test]
fn subscribing_times_out() {
    let fake = silent_server();
    let client = client_with_short_timeouts(fake.addr()).unwrap();
    let error = in_time("subscribing", || client.subscribe("t", Start::Now)).unwrap_err();
    assert!(
        matches!(error, Error::Timeout { what: "ack", .. }),
        "{error:?}"
    );
}

#[test]
fn blocked_write_of_a_large_message_times_out() {
    let fake = FakeServer::new(|stream| {
        // Reads nothing; keeps the stream open until the client closes it.
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
    let client = client_with_short_timeouts(fake.addr()).unwrap();
    let huge = "x".repeat(8 << 20);
    let error = in_time("writing", || client.publish("t", &huge)).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
}

/// Whether a write to the peer fails.
fn is_cut(stream: &std::net::TcpStream) -> bool {
    std::io::Write::write_all(&mut &*stream, &[0x8a, 0]).is_err()
}

/// Sends single bytes at intervals, without end.
fn trickle(mut stream: std::net::TcpStream) {
    while std::io::Write::write_all(&mut stream, b"H").is_ok() {
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn trickling_bytes_do_not_extend_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || trickle(listener.accept().unwrap().0));
    let error = in_time("connecting", || client_with_short_timeouts(addr)).unwrap_err();
    assert!(
        matches!(error, Error::Timeout { .. } | Error::Protocol { .. }),
        "{error:?}"
    );
    server.join().unwrap();

    let fake = FakeServer::silent_in_the_handshake(trickle);
    let client = client_with_short_timeouts(fake.addr()).unwrap();
    let error = in_time("subscribing", || client.subscribe("t", Start::Now)).unwrap_err();
    assert!(
        matches!(error, Error::Timeout { .. } | Error::Protocol { .. }),
        "{error:?}"
    );
}

#[test]
fn silent_server_is_detected_by_publisher_and_subscription() {
    let fake = FakeServer::acking_once();
    let client = Client::builder(&url(fake.addr()))
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
fn message_stays_unconfirmed_whatever_later_attempts_return() {
    let handshakes = AtomicU64::new(0);
    let once = move |key: &str| match handshakes.fetch_add(1, Ordering::SeqCst) {
        // The first connection reads a message and breaks, the next is refused permanently.
        even if even % 2 == 0 => switch(key),
        _ => b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_vec(),
    };
    let fake = FakeServer::with_handshake(once, |mut stream| {
        let _message = std::io::Read::read(&mut stream, &mut [0; 1024]);
    });
    let builder = Client::builder(&url(fake.addr())).request_timeout(DEADLINE);
    let client = builder.connect().unwrap();
    let error = client.publish("t", &1).unwrap_err();
    assert!(matches!(error, Error::Unconfirmed { .. }), "{error:?}");
    let mut pipeline = client.pipeline("t", 4);
    pipeline.send(&1).unwrap();
    let Err(Error::Pipeline { failed }) = pipeline.finish() else {
        panic!("publishing cannot succeed")
    };
    assert!(
        matches!(failed[0].error, Error::Unconfirmed { .. }),
        "{failed:?}"
    );
}
