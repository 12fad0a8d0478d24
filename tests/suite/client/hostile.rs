//! Servers that are none, or that say what no server should: an error each time, and no memory for it.

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

/// Answers `/health` like a server, and upgrades to what a test says.
pub(super) struct Impostor {
    addr: SocketAddr,
    is_over: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Impostor {
    /// `upgraded` gets the stream after the answer to the handshake.
    pub(super) fn speaking(upgraded: impl Fn(TcpStream) + Send + Sync + 'static) -> Impostor {
        Impostor::shaking(switch, upgraded)
    }

    /// Acks the first subscribe of a client to topic `t`, and says nothing more.
    pub(super) fn that_acks_and_falls_silent() -> Impostor {
        Impostor::speaking(|mut stream| {
            let ack = r#"{"type":"ack","request_id":"0.0","topic":"t","status":"ok","seq":5,"epoch":"e","ts":"z"}"#;
            let mut frame = vec![0x81, u8::try_from(ack.len()).unwrap()];
            frame.extend(ack.as_bytes());
            let _gone = stream.write_all(&frame);
            while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {}
        })
    }

    /// Answers no handshake; `left` gets the stream.
    pub(super) fn silent_in_the_handshake(
        left: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> Impostor {
        Impostor::shaking(|_| Vec::new(), left)
    }

    /// `answer` is what a handshake with this key gets; `upgraded` gets the stream then.
    pub(super) fn shaking(
        answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
        upgraded: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> Impostor {
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
        Impostor {
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

impl Drop for Impostor {
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

/// A text frame, as a server sends it.
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

/// Says these frames and then nothing, until the client goes.
fn says(frames: Vec<Vec<u8>>) -> impl Fn(TcpStream) + Send + Sync + 'static {
    move |mut stream| {
        for frame in &frames {
            let _gone = stream.write_all(frame);
        }
        while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {}
    }
}

/// What a subscription to such a server comes to.
fn subscribed(frames: Vec<Vec<u8>>) -> Error {
    let impostor = Impostor::speaking(says(frames));
    let client = impostor.client();
    match client.subscribe("t", Start::Now) {
        Err(error) => error,
        Ok(mut subscription) => loop {
            match subscription.recv_timeout(DEADLINE) {
                Ok(Some(_)) => {}
                Ok(None) => panic!("nothing came"),
                Err(error) => {
                    assert!(subscription.is_over());
                    break error;
                }
            }
        },
    }
}

#[test]
fn a_stream_that_no_server_would_send_is_a_protocol_error() {
    let ack = frame(ACK);
    let huge_header = [vec![0x81, 127], (1_u64 << 40).to_be_bytes().to_vec()].concat();
    let wrong_order = vec![ack.clone(), frame(&event(7))];
    let twice = vec![ack.clone(), frame(&event(6)), frame(&event(6))];
    let foreign = frame(&event(6).replace("\"t\"", "\"other\""));
    let gap = r#"{"type":"info","topic":"t","msg":"gap","gap":{"from_seq":9,"to_seq":3,"reason":"x"},"ts":"z"}"#;
    let escaped = frame(&event(6).replace("\"i\"", "\"\\u0041\""));
    for (what, frames) in [
        ("no JSON", vec![frame("nonsense")]),
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
fn a_message_without_end_is_given_up_at_the_limit() {
    let impostor = Impostor::speaking(|mut stream| {
        let _gone = stream.write_all(&[0x01, 0]);
        let piece = [vec![0x00, 126, 0xff, 0xff], vec![b'x'; 0xffff]].concat();
        while stream.write_all(&piece).is_ok() {}
    });
    let error = impostor.client().subscribe("t", Start::Now).unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    assert!(error.to_string().contains("max_message_bytes"), "{error}");
}

#[test]
fn a_handshake_that_is_none_is_an_error() {
    for (what, answer) in [
        ("garbage", b"\0\xff garbage \r\n\r\n\r\n".to_vec()),
        ("the wrong key", switch("wrong")),
        (
            "too large a head",
            [b"HTTP/1.1 101 OK\r\nX: ".to_vec(), vec![b'x'; 1 << 20]].concat(),
        ),
        ("another protocol", b"SSH-2.0-OpenSSH_9.0\r\n\r\n".to_vec()),
    ] {
        let impostor = Impostor::shaking(move |_| answer.clone(), drop);
        let client = impostor.client();
        let error = client.subscribe("t", Start::Now).unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{what}: {error:?}");
        let error = client.publish("t", &1).unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{what}: {error:?}");
    }
}

#[test]
fn a_refusal_of_something_in_between_keeps_its_status() {
    let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9000000\r\n\r\n<html>".to_vec();
    let impostor = Impostor::shaking(move |_| answer.clone(), drop);
    let error = impostor.client().subscribe("t", Start::Now).unwrap_err();
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
fn nonsense_instead_of_an_ack_leaves_the_message_unconfirmed() {
    for said in ["nonsense", r#"{"type":"ack","request_id":"0"}"#] {
        let impostor = Impostor::speaking(move |mut stream| {
            let _message = stream.read(&mut [0; 1024]);
            says(vec![frame(said)])(stream);
        });
        let error = impostor.client().publish("t", &1).unwrap_err();
        assert!(matches!(error, Error::Unconfirmed { .. }), "{error:?}");
    }
}

#[test]
fn answers_to_nobody_are_passed_over() {
    let impostor = Impostor::speaking(move |mut stream| {
        let _message = stream.read(&mut [0; 1024]);
        let ack = |request: &str, seq| ACK.replace("0.0", request).replace("\"seq\":5", seq);
        says(vec![
            frame(&ack("99", "\"seq\":1")),
            frame(&ack("x", "\"seq\":2")),
            frame(&ack("0", "\"seq\":3")),
        ])(stream);
    });
    assert_eq!(impostor.client().publish("t", &1).unwrap().seq, 3);
}

#[test]
fn an_answer_that_is_no_json_is_a_protocol_error() {
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
