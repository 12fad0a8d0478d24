//! Fake servers that violate the protocol: each violation is an error, with bounded memory.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use threadcast::client::{Client, Error, Start};
use tungstenite::handshake::derive_accept_key;

use super::url;
use crate::harness::DEADLINE;

type Behaviour = dyn Fn(TcpStream) + Send + Sync;

/// Answers `/health` like a server, and handles WebSocket connections as a test defines.
pub(super) struct FakeServer {
    addr: SocketAddr,
    is_over: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl FakeServer {
    /// `upgraded` gets the stream after the handshake.
    pub(super) fn new(upgraded: impl Fn(TcpStream) + Send + Sync + 'static) -> FakeServer {
        FakeServer::with_handshake(switch, upgraded)
    }

    /// Acks the first subscribe of a client to topic `t`, then sends nothing more.
    pub(super) fn acking_once() -> FakeServer {
        FakeServer::new(|mut stream| {
            let ack = r#"{"type":"ack","request_id":"0.0","topic":"t","status":"ok","seq":5,"epoch":"e","ts":"z"}"#;
            let mut frame = vec![0x81, u8::try_from(ack.len()).unwrap()];
            frame.extend(ack.as_bytes());
            let _gone = stream.write_all(&frame);
            while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {}
        })
    }

    /// Does not answer the handshake; `left` gets the stream.
    pub(super) fn silent_in_the_handshake(
        left: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> FakeServer {
        FakeServer::with_handshake(|_| Vec::new(), left)
    }

    /// `answer` maps the key of a handshake to its response; then `upgraded` gets the stream.
    pub(super) fn with_handshake(
        answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
        upgraded: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> FakeServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let its = Arc::clone(&is_over);
        let (answer, upgraded) = (Arc::new(answer), Arc::new(upgraded) as Arc<Behaviour>);
        let accept = move || {
            while let Ok((stream, _)) = listener.accept() {
                if its.load(Ordering::SeqCst) {
                    break;
                }
                let (answer, upgraded) = (Arc::clone(&answer), Arc::clone(&upgraded));
                thread::spawn(move || serve(stream, &*answer, &*upgraded));
            }
        };
        FakeServer {
            addr,
            is_over,
            acceptor: Some(thread::spawn(accept)),
        }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn client(&self) -> Client {
        let builder = Client::builder(&url(self.addr)).max_message_bytes(1 << 20);
        builder
            .connect_timeout(DEADLINE)
            .request_timeout(DEADLINE)
            .connect()
            .unwrap()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _wake_up = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ended = acceptor.join();
        }
    }
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&str) -> Vec<u8>, upgraded: &Behaviour) {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut head = String::new();
    let mut byte = [0];
    while !head.ends_with("\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
        head.push(char::from(byte[0]));
    }
    let key = head
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    if let Some(key) = key {
        let _gone = stream.write_all(&answer(key));
        upgraded(stream);
        return;
    }
    let body = r#"{"status":"ok","uptime_sec":1,"topics":0,"subscribers":0}"#;
    let length = body.len();
    let _gone = write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
}

pub(super) fn switch(key: &str) -> Vec<u8> {
    let accept = derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}

/// An unmasked text frame.
pub(super) fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 126];
    frame.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    frame.extend(text.as_bytes());
    frame
}

pub(super) const ACK: &str =
    r#"{"type":"ack","request_id":"0.0","topic":"t","status":"ok","seq":5,"epoch":"e","ts":"z"}"#;

fn event(seq: u64) -> String {
    format!(
        r#"{{"type":"event","topic":"t","message":{{"id":"i","payload":1}},"seq":{seq},"ts":"z"}}"#
    )
}

/// Sends these frames, then waits until the client disconnects.
fn says(frames: Vec<Vec<u8>>) -> impl Fn(TcpStream) + Send + Sync + 'static {
    move |mut stream| {
        for frame in &frames {
            let _gone = stream.write_all(frame);
        }
        while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {}
    }
}

/// The error of a subscription to a server that sends these frames.
fn subscribed(frames: Vec<Vec<u8>>) -> Error {
    let fake = FakeServer::new(says(frames));
    let client = fake.client();
    match client.subscribe("t", Start::Now) {
        Err(error) => error,
        Ok(mut subscription) => loop {
            match subscription.recv_timeout(DEADLINE) {
                Ok(Some(_)) => {}
                Ok(None) => panic!("no delivery"),
                Err(error) => {
                    assert!(subscription.is_over());
                    break error;
                }
            }
        },
    }
}

#[test]
fn invalid_stream_is_a_protocol_error() {
    let ack = frame(ACK);
    let huge_header = [vec![0x81, 127], (1_u64 << 40).to_be_bytes().to_vec()].concat();
    let wrong_order = vec![ack.clone(), frame(&event(7))];
    let twice = vec![ack.clone(), frame(&event(6)), frame(&event(6))];
    let foreign = frame(&event(6).replace("\"t\"", "\"other\""));
    let gap = r#"{"type":"info","topic":"t","msg":"gap","gap":{"from_seq":9,"to_seq":3,"reason":"x"},"ts":"z"}"#;
    let escaped = frame(&event(6).replace("\"i\"", "\"\\u0041\""));
    for (what, frames) in [
        ("not JSON", vec![frame("nonsense")]),
        ("no object", vec![frame("[1]")]),
        ("an event before the ack", vec![frame(&event(6))]),
        ("a hole", wrong_order),
        ("an event twice", twice),
        ("another topic", vec![ack.clone(), foreign]),
        ("a huge frame", vec![ack.clone(), huge_header]),
        ("a gap backwards", vec![ack.clone(), frame(gap)]),
        ("an ack of nothing", vec![frame(&ACK.replace("0.0", "9.9"))]),
        ("an ack twice", vec![ack.clone(), ack.clone()]),
        ("an id in disguise", vec![ack, escaped]),
        ("a binary message", vec![vec![0x82, 1, 0]]),
        ("text that is none", vec![vec![0x81, 2, 0xc3, 0x28]]),
        ("a reserved opcode", vec![vec![0x83, 0]]),
        ("a masked frame", vec![vec![0x81, 0x80, 1, 2, 3, 4]]),
    ] {
        let error = subscribed(frames);
        assert!(matches!(error, Error::Protocol { .. }), "{what}: {error:?}");
    }
}

#[test]
fn endless_message_fails_at_the_size_limit() {
    let fake = FakeServer::new(|mut stream| {
        let _gone = stream.write_all(&[0x01, 0]);
        let fragment = [vec![0x00, 126, 0xff, 0xff], vec![b'x'; 0xffff]].concat();
        while stream.write_all(&fragment).is_ok() {}
    });
    let error = fake.client().subscribe("t", Start::Now).unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    assert!(error.to_string().contains("max_message_bytes"), "{error}");
}

#[test]
fn invalid_handshake_is_a_protocol_error() {
    for (what, answer) in [
        ("garbage", b"\0\xff garbage \r\n\r\n\r\n".to_vec()),
        ("the wrong key", switch("wrong")),
        (
            "too large a head",
            [b"HTTP/1.1 101 OK\r\nX: ".to_vec(), vec![b'x'; 1 << 20]].concat(),
        ),
        ("another protocol", b"SSH-2.0-OpenSSH_9.0\r\n\r\n".to_vec()),
    ] {
        let fake = FakeServer::with_handshake(move |_| answer.clone(), drop);
        let client = fake.client();
        let error = client.subscribe("t", Start::Now).unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{what}: {error:?}");
        let error = client.publish("t", &1).unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{what}: {error:?}");
    }
}

#[test]
fn refusal_of_a_proxy_keeps_its_status() {
    let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9000000\r\n\r\n<html>".to_vec();
    let fake = FakeServer::with_handshake(move |_| answer.clone(), drop);
    let error = fake.client().subscribe("t", Start::Now).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Refused {
                status: Some(403),
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn invalid_frame_instead_of_an_ack_leaves_the_message_unconfirmed() {
    for text in ["nonsense", r#"{"type":"ack","request_id":"0"}"#] {
        let fake = FakeServer::new(move |mut stream| {
            let _message = stream.read(&mut [0; 1024]);
            says(vec![frame(text)])(stream);
        });
        let error = fake.client().publish("t", &1).unwrap_err();
        assert!(matches!(error, Error::Unconfirmed { .. }), "{error:?}");
    }
}

#[test]
fn answers_without_a_request_are_ignored() {
    let fake = FakeServer::new(move |mut stream| {
        let _message = stream.read(&mut [0; 1024]);
        let ack = |request: &str, seq| ACK.replace("0.0", request).replace("\"seq\":5", seq);
        says(vec![
            frame(&ack("99", "\"seq\":1")),
            frame(&ack("x", "\"seq\":2")),
            frame(&ack("0", "\"seq\":3")),
        ])(stream);
    });
    assert_eq!(fake.client().publish("t", &1).unwrap().seq, 3);
}

#[test]
fn response_that_is_not_json_is_a_protocol_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let answer = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _request = stream.read(&mut [0; 1024]);
        let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnope");
    });
    let builder = Client::builder(&url(addr)).request_timeout(Duration::from_secs(5));
    let error = builder.connect().unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    answer.join().unwrap();
}
