//! TLS in the tests: certificates made for one test, a client that reads and writes over TLS, and a relay that lets the plain clients of
//! the harness speak to a server with TLS. With `SUITE_TLS=1` every server of a test has TLS and such a relay.

mod certificates;
mod relay;

use std::env;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

use super::{Config, DEADLINE};
pub(crate) use certificates::{Authority, CertificateFiles, Issued};
pub(crate) use relay::{NewKeys, Relay};

/// A connection over TLS, whose handshake the first read or write makes.
pub(crate) type TlsClient = StreamOwned<ClientConnection, TcpStream>;

/// Connects, and trusts what `config` trusts.
pub(crate) fn connect_tls(addr: SocketAddr, config: &Arc<ClientConfig>) -> TlsClient {
    try_connect_tls(addr, None, config).expect("a connection")
}

fn try_connect_tls(
    addr: SocketAddr,
    receive_buffer_bytes: Option<usize>,
    config: &Arc<ClientConfig>,
) -> io::Result<TlsClient> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    if let Some(bytes) = receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.connect(&addr.into())?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    let name = ServerName::try_from("localhost").expect("a name");
    let session = ClientConnection::new(Arc::clone(config), name).expect("a session");
    Ok(StreamOwned::new(session, stream))
}

/// TLS for all servers of a test, if the environment asks for it.
pub(super) struct TlsByEnvironment {
    certificates: Option<(Authority, CertificateFiles)>,
    relay: Option<Relay>,
}

impl TlsByEnvironment {
    /// Gives a server that says nothing of TLS itself a certificate.
    pub(super) fn prepare(config: &mut Config) -> TlsByEnvironment {
        let asked = env::var("SUITE_TLS").is_ok_and(|asked| asked == "1");
        let certificates = (asked && config.tls_cert.is_none()).then(|| {
            let authority = Authority::new();
            let files = CertificateFiles::new(&authority.issue());
            files.put_into(config);
            (authority, files)
        });
        TlsByEnvironment {
            certificates,
            relay: None,
        }
    }

    /// Where plain clients reach this server.
    pub(super) fn address_of(&mut self, server: SocketAddr) -> SocketAddr {
        let Some((authority, _)) = &self.certificates else {
            return server;
        };
        let relay = Relay::start(server, &authority.client_config(), NewKeys::Never);
        self.relay.insert(relay).addr()
    }
}
