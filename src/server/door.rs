//! The door: accepts connections on the one port and gives each a thread, or a clear refusal.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use socket2::{Domain, SockRef, Socket, Type};

use super::StartError;
use super::acceptor::{Acceptor, Admit};
use super::panics::Panics;
use super::refuser;
use crate::config::Config;
use crate::metrics::SharedMetrics;
use crate::sync::Arc;
use crate::sync::channel::{Sender, bounded};

/// Connections the kernel may keep for us while the accepting thread is busy.
const BACKLOG: i32 = 4096;
/// Connections that wait to be refused; with more of them the door waits.
const MAX_TO_REFUSE: usize = 64;

/// Opens the port. What is set here, the accepted sockets inherit.
pub(super) fn listen(config: &Config) -> Result<TcpListener, StartError> {
    let host = config.host.as_str();
    let unresolved = |source| StartError::Host {
        host: host.to_owned(),
        source,
    };
    let addresses = (host, config.port).to_socket_addrs().map_err(unresolved)?;
    let mut last = unresolved(io::ErrorKind::NotFound.into());
    for address in addresses {
        match listen_on(address, config.send_buffer_bytes) {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                last = StartError::InUse { addr: address }
            }
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                last = unresolved(error);
            }
            Err(error) => last = StartError::Io(error),
        }
    }
    Err(last)
}

fn listen_on(address: SocketAddr, send_buffer_bytes: usize) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(send_buffer_bytes)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether the host has an address, and one of this machine: what [`listen`] would find out, without listening.
pub(super) fn check_host(host: &str) -> Result<(), StartError> {
    let unresolved = |source| StartError::Host {
        host: host.to_owned(),
        source,
    };
    let addresses = (host, 0).to_socket_addrs().map_err(unresolved)?;
    let mut last = unresolved(io::ErrorKind::NotFound.into());
    for address in addresses {
        let bound = Socket::new(Domain::for_address(address), Type::STREAM, None)
            .and_then(|socket| socket.bind(&address.into()));
        match bound {
            Ok(()) => return Ok(()),
            Err(error) => last = unresolved(error),
        }
    }
    Err(last)
}

/// The accepting thread, and the one that tells the refused why.
pub(super) struct Door {
    listener: Arc<TcpListener>,
    closing: Arc<AtomicBool>,
    wake: Sender<()>,
    accepting: JoinHandle<()>,
    refusing: JoinHandle<()>,
}

impl Door {
    pub(super) fn open(
        listener: TcpListener,
        admit: Box<Admit>,
        panics: &Panics,
        metrics: &SharedMetrics,
    ) -> io::Result<Door> {
        let listener = Arc::new(listener);
        let closing = Arc::new(AtomicBool::new(false));
        let (wake, woken) = bounded(1);
        let (refuse, refused) = bounded(MAX_TO_REFUSE);
        let refusing = thread::Builder::new().name("refuser".to_owned()).spawn({
            let (panics, metrics) = (panics.clone(), SharedMetrics::clone(metrics));
            move || refuser::run(&refused, &panics, &metrics)
        })?;
        let accepting = thread::Builder::new().name("door".to_owned()).spawn({
            let acceptor = Acceptor::new(
                Arc::clone(&listener),
                Arc::clone(&closing),
                woken,
                admit,
                refuse,
                panics.clone(),
                SharedMetrics::clone(metrics),
            );
            move || acceptor.run()
        })?;
        Ok(Door {
            listener,
            closing,
            wake,
            accepting,
            refusing,
        })
    }

    /// Accepts nothing more: whoever connects from now on is refused by the kernel.
    pub(super) fn close(self) {
        self.closing.store(true, Ordering::SeqCst);
        let _ = self.wake.try_send(());
        let _ = SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        let _ = self.accepting.join();
        let _ = self.refusing.join();
    }
}
