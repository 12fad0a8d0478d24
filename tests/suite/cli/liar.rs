//! A proxy that changes the events of a real server, to prove that the checks find it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::harness::Frame;

/// The event that is changed.
pub(super) const VICTIM: u64 = 5;

/// The change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// None: the proxy itself changes nothing.
    None,
    Drop,
    Double,
    /// It is swapped with the next event.
    Swap,
    /// It is dropped, and all later events are renumbered, so that `seq` has no gap.
    Hide,
    /// It and everything after it are dropped.
    Stop,
}

/// The proxy. Dropping it stops accepting.
pub(super) struct Liar {
    addr: SocketAddr,
    is_over: Arc<AtomicBool>,
}

impl Liar {
    pub(super) fn before(server: SocketAddr, lie: Lie) -> Liar {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let is_over = Arc::<AtomicBool>::default();
        let its = Arc::clone(&is_over);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if its.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(server) = TcpStream::connect(server) else {
                    break;
                };
                forward(&client, &server, lie);
            }
        });
        Liar { addr, is_over }
    }

    pub(super) fn url(&self) -> String {
        format!("ws://{}/ws", self.addr)
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _wake_up = TcpStream::connect(self.addr);
    }
}

/// Forwards both directions, each on a thread that ends with the connection.
fn forward(client: &TcpStream, server: &TcpStream, lie: Lie) {
    for stream in [client, server] {
        stream.set_nodelay(true).expect("no delay");
    }
    let clone = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
    let (mut from, mut to) = (clone(client), clone(server));
    thread::spawn(move || {
        let _ended = io::copy(&mut from, &mut to);
        let _gone = to.shutdown(Shutdown::Write);
    });
    let (mut from, mut to) = (clone(server), clone(client));
    thread::spawn(move || {
        let _ended = answer(&mut from, &mut to, lie);
        let _gone = to.shutdown(Shutdown::Both);
    });
}

/// Forwards the head, then frames after an upgrade, or else the body.
fn answer(from: &mut TcpStream, to: &mut TcpStream, lie: Lie) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        head.extend(byte);
    }
    to.write_all(&head)?;
    if !head.starts_with(b"HTTP/1.1 101") {
        return io::copy(from, to).map(drop);
    }
    let mut held = Vec::new();
    loop {
        let (first, payload) = read_frame(from)?;
        let text = String::from_utf8_lossy(&payload).into_owned();
        let seq = event_seq(&text);
        let frame = |text: &str| Frame::text(text).unmasked();
        let sent = match (lie, seq) {
            (Lie::Drop, Some(VICTIM)) => Vec::new(),
            (Lie::Double, Some(VICTIM)) => [frame(&text), frame(&text)].concat(),
            (Lie::Swap, Some(VICTIM)) => {
                held = frame(&text);
                Vec::new()
            }
            (Lie::Swap, Some(_)) => [frame(&text), std::mem::take(&mut held)].concat(),
            (Lie::Hide, Some(VICTIM)) => Vec::new(),
            (Lie::Hide, Some(seq)) if seq > VICTIM => {
                let renumbered = format!("\"seq\":{}", seq - 1);
                frame(&text.replace(&format!("\"seq\":{seq}"), &renumbered))
            }
            (Lie::Stop, Some(seq)) if seq >= VICTIM => Vec::new(),
            _ => Frame::with_first_byte(first, &payload).unmasked(),
        };
        to.write_all(&sent)?;
    }
}

fn read_frame(from: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut start = [0; 2];
    from.read_exact(&mut start)?;
    let length = match start[1] & 0x7f {
        126 => {
            let mut length = [0; 2];
            from.read_exact(&mut length)?;
            u64::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            from.read_exact(&mut length)?;
            u64::from_be_bytes(length)
        }
        short => u64::from(short),
    };
    let mut payload = vec![0; usize::try_from(length).expect("it fits")];
    from.read_exact(&mut payload)?;
    Ok((start[0], payload))
}

/// The `seq` of an event; `None` for other frames.
fn event_seq(text: &str) -> Option<u64> {
    let rest = text.strip_prefix(r#"{"type":"event""#)?;
    let (_, number) = rest.rsplit_once(r#""seq":"#)?;
    let digits = number.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}
