//! A relay between plain clients and a server with TLS. It keeps little, and passes on ends and resets, so that a client sees the server
//! as if there were nothing between them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::{ClientConfig, ClientConnection};
use socket2::SockRef;

use super::try_connect_tls;

/// How much is kept in one direction.
const ROOM: usize = 4 << 10;
/// Of its sockets, so that a client that does not read soon blocks the server.
const BUFFER_BYTES: usize = 4 << 10;

/// Listens on a port of its own until it is dropped; its connections end with those of the server.
pub(crate) struct Relay {
    addr: SocketAddr,
    ended: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Relay {
    pub(crate) fn start(
        server: SocketAddr,
        config: &Arc<ClientConfig>,
        new_keys: NewKeys,
    ) -> Relay {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let addr = listener.local_addr().expect("a port");
        let ended = Arc::new(AtomicBool::new(false));
        let (is_over, config) = (Arc::clone(&ended), Arc::clone(config));
        let acceptor = thread::spawn(move || {
            for plain in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let (plain, config) = (plain.expect("a connection"), Arc::clone(&config));
                thread::spawn(move || {
                    let opened = Pair::open(plain, server, &config, new_keys);
                    let _ended = opened.and_then(|mut pair| pair.run());
                });
            }
        });
        Relay {
            addr,
            ended,
            acceptor: Some(acceptor),
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _woken = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ended = acceptor.join();
        }
    }
}

/// When a relay asks for new keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum NewKeys {
    Never,
    /// With what it gets from the server, this often. A server bears 32 requests of a peer that sends nothing else.
    First(usize),
}

struct Pair {
    plain: TcpStream,
    socket: TcpStream,
    tls: ClientConnection,
    new_keys: NewKeys,
    /// Decrypted, and not taken by the client.
    to_client: Vec<u8>,
    client_has_ended: bool,
    server_has_ended: bool,
    is_client_closed: bool,
}

impl Pair {
    fn open(
        plain: TcpStream,
        server: SocketAddr,
        config: &Arc<ClientConfig>,
        new_keys: NewKeys,
    ) -> io::Result<Pair> {
        let opened = try_connect_tls(server, Some(BUFFER_BYTES), config)?;
        let (mut tls, mut socket) = opened.into_parts();
        tls.complete_io(&mut socket)?;
        SockRef::from(&plain)
            .set_send_buffer_size(BUFFER_BYTES)
            .expect("an open socket");
        plain.set_nodelay(true).expect("an open socket");
        plain.set_nonblocking(true).expect("an open socket");
        socket.set_nonblocking(true).expect("an open socket");
        Ok(Pair {
            plain,
            socket,
            tls,
            new_keys,
            to_client: Vec::new(),
            client_has_ended: false,
            server_has_ended: false,
            is_client_closed: false,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        while !(self.client_has_ended && self.server_has_ended && self.to_client.is_empty()) {
            self.wait()?;
            let passed = self.pass_on();
            if let Err(error) = passed {
                // Whoever is left sees a reset, as it would without a relay.
                for end in [&self.plain, &self.socket] {
                    SockRef::from(end).set_linger(Some(Duration::ZERO))?;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn wait(&self) -> io::Result<()> {
        let reads_client = !self.client_has_ended && !self.tls.wants_write();
        let reads_server = !self.server_has_ended && self.to_client.len() < ROOM;
        let events = |reads: bool, writes: bool| {
            let mut events = PollFlags::empty();
            events.set(PollFlags::POLLIN, reads);
            events.set(PollFlags::POLLOUT, writes);
            events
        };
        let of_client = events(reads_client, !self.to_client.is_empty());
        let of_server = events(reads_server, self.tls.wants_write());
        let of_both = [(&self.plain, of_client), (&self.socket, of_server)];
        // An end that is waited for no more would always be ready.
        let waited_for = of_both.into_iter().filter(|(_, events)| !events.is_empty());
        let polled = waited_for.map(|(end, events)| PollFd::new(end.as_fd(), events));
        poll(&mut polled.collect::<Vec<_>>(), PollTimeout::NONE)?;
        Ok(())
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4 << 10];
        if !self.client_has_ended && !self.tls.wants_write() {
            match self.plain.read(&mut bytes) {
                Ok(0) => {
                    self.client_has_ended = true;
                    self.tls.send_close_notify();
                }
                Ok(count) => self.tls.writer().write_all(&bytes[..count])?,
                Err(error) => if_serious(error)?,
            }
        }
        let sent = self.send();
        // What the server has sent before it gave up comes first.
        self.receive()?;
        while !self.to_client.is_empty() {
            match self.plain.write(&self.to_client) {
                Ok(count) => drop(self.to_client.drain(..count)),
                Err(error) => {
                    if_serious(error)?;
                    break;
                }
            }
        }
        if self.server_has_ended && self.to_client.is_empty() && !self.is_client_closed {
            self.is_client_closed = true;
            let _closed = self.plain.shutdown(Shutdown::Write);
        }
        match self.to_client.is_empty() {
            true => sent,
            false => Ok(()),
        }
    }

    fn send(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            if let Err(error) = self.tls.write_tls(&mut self.socket) {
                return if_serious(error);
            }
        }
        if self.client_has_ended {
            let _closed = self.socket.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<()> {
        while !self.server_has_ended && self.to_client.len() < ROOM {
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => self.server_has_ended = true,
                Ok(_) => {
                    let state = self.tls.process_new_packets().map_err(io::Error::other)?;
                    let before = self.to_client.len();
                    self.to_client
                        .resize(before + state.plaintext_bytes_to_read(), 0);
                    self.tls
                        .reader()
                        .read_exact(&mut self.to_client[before..])?;
                    if let NewKeys::First(left @ 1..) = &mut self.new_keys
                        && self.to_client.len() > before
                    {
                        *left -= 1;
                        self.tls.refresh_traffic_keys().map_err(io::Error::other)?;
                    }
                    self.server_has_ended |= state.peer_has_closed();
                }
                Err(error) => {
                    if_serious(error)?;
                    break;
                }
            }
        }
        Ok(())
    }
}

fn if_serious(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(()),
        _ => Err(error),
    }
}
