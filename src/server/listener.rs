//! The listener: opens the one port, and runs the threads that accept or reject connections on it.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use socket2::{Domain, SockRef, Socket, Type};

use super::StartError;
use super::acceptor::Acceptor;
use super::connections::Connections;
use super::rejector;
use super::serving::Serving;
use crate::config::Config;
use crate::sync::Arc;
use crate::sync::channel::{Sender, bounded};

/// Connections that the kernel queues while the accepting thread is busy.
const BACKLOG: i32 = 4096;
/// Connections that wait for the rejector. With more, the acceptor waits.
const MAX_TO_REJECT: usize = 64;

/// Opens the port. Accepted sockets inherit the options that are set here.
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

/// Whether the host has an address, and one of this machine: the checks of [`listen`], without listening.
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

/// The accepting and the rejecting thread.
pub(super) struct Listener {
    listener: Arc<TcpListener>,
    closing: Arc<AtomicBool>,
    wake: Sender<()>,
    acceptor: JoinHandle<()>,
    rejector: JoinHandle<()>,
}

impl Listener {
    pub(super) fn start(
        listener: TcpListener,
        serving: &Arc<Serving>,
        connections: &Arc<Connections>,
    ) -> io::Result<Listener> {
        let listener = Arc::new(listener);
        let closing = Arc::new(AtomicBool::new(false));
        let (wake, woken) = bounded(1);
        let (reject, rejected) = bounded(MAX_TO_REJECT);
        let rejector = thread::Builder::new().name("rejector".to_owned()).spawn({
            let panics = connections.panics.clone();
            let metrics = Arc::clone(&connections.metrics);
            move || rejector::run(&rejected, &panics, &metrics)
        })?;
        let acceptor = thread::Builder::new().name("acceptor".to_owned()).spawn({
            let acceptor = Acceptor::new(
                Arc::clone(&listener),
                Arc::clone(&closing),
                woken,
                Arc::clone(serving),
                Arc::clone(connections),
                reject,
            );
            move || acceptor.run()
        })?;
        Ok(Listener {
            listener,
            closing,
            wake,
            acceptor,
            rejector,
        })
    }

    /// Stops accepting: from now on, the kernel refuses new connections.
    pub(super) fn close(self) {
        self.closing.store(true, Ordering::SeqCst);
        let _ = self.wake.try_send(());
        let _ = SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        let _ = self.acceptor.join();
        let _ = self.rejector.join();
    }
}
