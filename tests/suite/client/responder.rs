//! A server that answers each request as a test defines, closes the connection, and counts the requests.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crate::harness::DEADLINE;

pub(super) const HEALTHY: &str =
    r#"200 OK|{"status":"ok","uptime_sec":1,"topics":0,"subscribers":0}"#;
pub(super) const UNAVAILABLE: &str =
    r#"503 Service Unavailable|{"detail":"full","code":"UNAVAILABLE"}"#;
pub(super) const FORBIDDEN: &str = r#"403 Forbidden|{"detail":"no","code":"FORBIDDEN"}"#;
/// Reads the request and closes the connection without a response.
pub(super) const NOTHING: &str = "";

/// A running responder. Dropping it ends it.
pub(super) struct Responder {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    requests: AtomicUsize,
    /// The request lines.
    lines: Mutex<Vec<String>>,
}

impl Responder {
    /// `respond` maps a request line to status and body, separated by `|`.
    pub(super) fn new(respond: impl Fn(&str) -> &'static str + Send + 'static) -> Responder {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let its = Arc::clone(&shared);
        let accept = move || {
            while let Ok((stream, _)) = listener.accept() {
                if its.is_over.load(Ordering::SeqCst) {
                    break;
                }
                its.answer(stream, &respond);
            }
        };
        Responder {
            addr,
            shared,
            acceptor: Some(thread::spawn(accept)),
        }
    }

    /// Gives every request this answer.
    pub(super) fn always(answer: &'static str) -> Responder {
        Responder::new(move |_| answer)
    }

    /// Is healthy, and gives every other request this answer.
    pub(super) fn healthy_but(answer: &'static str) -> Responder {
        Responder::new(move |line| match line.starts_with("GET /health ") {
            true => HEALTHY,
            false => answer,
        })
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many requests it has received.
    pub(super) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.shared.lines.lock().unwrap().clone()
    }
}

impl Shared {
    fn answer(&self, mut stream: TcpStream, respond: &dyn Fn(&str) -> &'static str) {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let Some((line, body_bytes)) = read_head(&mut stream) else {
            return;
        };
        let _gone = stream.read_exact(&mut vec![0; body_bytes]);
        let answer = respond(&line);
        self.lines.lock().unwrap().push(line);
        self.requests.fetch_add(1, Ordering::SeqCst);
        if let Some((status, body)) = answer.split_once('|') {
            let length = body.len();
            let _gone = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
        let _gone = stream.shutdown(Shutdown::Both);
    }
}

/// The request line, and the length of the body; `None` if the connection ends before.
fn read_head(stream: &mut TcpStream) -> Option<(String, usize)> {
    let (mut head, mut byte) = (String::new(), [0]);
    while !head.ends_with("\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(char::from(byte[0]));
    }
    let lower = head.to_ascii_lowercase();
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse().unwrap());
    Some((head.lines().next()?.to_owned(), length))
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        let _wake_up = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ended = acceptor.join();
        }
    }
}
