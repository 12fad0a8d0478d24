//! A TCP proxy that cuts connections after a number of bytes, or all at once.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// A running proxy. Dropping it cuts all its connections.
pub(super) struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    upstream: Mutex<SocketAddr>,
    is_over: AtomicBool,
    /// Whether new connections are refused.
    is_down: AtomicBool,
    cuts: AtomicU64,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A proxy that cuts connections only on request.
    pub(super) fn to(upstream: SocketAddr) -> Proxy {
        Proxy::cutting(upstream, || i64::MAX)
    }

    /// A proxy that cuts each connection after `budget()` bytes, counting both directions.
    pub(super) fn cutting(
        upstream: SocketAddr,
        mut budget: impl FnMut() -> i64 + Send + 'static,
    ) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            is_over: AtomicBool::new(false),
            is_down: AtomicBool::new(false),
            cuts: AtomicU64::new(0),
            streams: Mutex::default(),
        });
        let its = Arc::clone(&shared);
        let accept = move || {
            let mut pumps = Vec::new();
            while let Ok((stream, _)) = listener.accept() {
                if its.is_over.load(Ordering::SeqCst) {
                    break;
                }
                pumps.extend(its.forward(stream, budget()));
            }
            its.cut_all();
            for pump in pumps {
                let _ended = pump.join();
            }
        };
        Proxy {
            addr,
            shared,
            acceptor: Some(thread::spawn(accept)),
        }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many connections were cut by their budget.
    pub(super) fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    /// Cuts every open connection.
    pub(super) fn cut_all(&self) {
        self.shared.cut_all();
    }

    /// Sets whether new connections are closed at once.
    pub(super) fn set_down(&self, is_down: bool) {
        self.shared.is_down.store(is_down, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        let _wake_up = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ended = acceptor.join();
        }
    }
}

impl Shared {
    fn cut_all(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _gone = stream.shutdown(Shutdown::Both);
        }
    }

    /// Starts to forward bytes in both directions.
    fn forward(self: &Arc<Shared>, client: TcpStream, budget: i64) -> Vec<JoinHandle<()>> {
        let upstream = *self.upstream.lock().unwrap();
        if self.is_down.load(Ordering::SeqCst) {
            return Vec::new();
        }
        let Ok(server) = TcpStream::connect(upstream) else {
            return Vec::new();
        };
        client.set_nodelay(true).expect("no delay");
        server.set_nodelay(true).expect("no delay");
        let clone = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
        self.streams
            .lock()
            .unwrap()
            .extend([clone(&client), clone(&server)]);
        let left = Arc::new(AtomicI64::new(budget));
        let ways = [(clone(&client), clone(&server)), (server, client)];
        ways.map(|(from, to)| {
            let (its, left) = (Arc::clone(self), Arc::clone(&left));
            thread::spawn(move || its.pump(from, to, &left))
        })
        .into()
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, left: &AtomicI64) {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let length = i64::try_from(count).expect("a small number");
            let before = left.fetch_sub(length, Ordering::SeqCst);
            let allowed = usize::try_from(before.clamp(0, length)).expect("a small number");
            let written = to.write_all(&buffer[..allowed]);
            if allowed < count {
                if before > 0 {
                    self.cuts.fetch_add(1, Ordering::SeqCst);
                }
                break;
            }
            if written.is_err() {
                break;
            }
        }
        let is_cut = left.load(Ordering::SeqCst) <= 0;
        // End of file is forwarded in its direction; a cut ends both.
        let _gone = to.shutdown(if is_cut {
            Shutdown::Both
        } else {
            Shutdown::Write
        });
        if is_cut {
            let _gone = from.shutdown(Shutdown::Both);
        }
    }
}
