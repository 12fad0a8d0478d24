//! TLS at the server's port. That everything else holds over it, too, is shown by the whole suite with `SUITE_TLS=1`.

mod certificates;
mod client;
mod handshakes;
mod start;

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use crate::harness::{
    Authority, CertificateFiles, Config, Issued, NewKeys, Relay, TestServer, TlsClient, connect_tls,
};

/// A server with a certificate.
struct TlsServer {
    server: TestServer,
    authority: Authority,
    files: CertificateFiles,
    issued: Issued,
}

impl TlsServer {
    fn start() -> TlsServer {
        TlsServer::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> TlsServer {
        let authority = Authority::new();
        let issued = authority.issue();
        let files = CertificateFiles::new(&issued);
        let server = TestServer::with(|config| {
            files.put_into(config);
            change(config);
        });
        TlsServer {
            server,
            authority,
            files,
            issued,
        }
    }

    fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    fn connect(&self) -> TlsClient {
        connect_tls(self.addr(), &self.authority.client_config())
    }

    /// For plain clients of this server.
    fn relay(&self) -> Relay {
        Relay::start(self.addr(), &self.authority.client_config(), NewKeys::Never)
    }

    /// As [`TlsServer::relay`]; it changes its keys with everything that it gets.
    fn relay_with_new_keys(&self) -> Relay {
        Relay::start(
            self.addr(),
            &self.authority.client_config(),
            NewKeys::First(30),
        )
    }
}

/// Sends a request, and reads to the end, which must be announced by TLS.
fn ask(client: &mut TlsClient, request: &str) -> String {
    client.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    client.read_to_string(&mut response).unwrap();
    response
}

fn get(client: &mut TlsClient, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    ask(client, &request)
}

/// Reads until the server has ended the connection, in whatever way.
fn read_to_end(reader: &mut impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    match reader.read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("not ended: {error}"),
    }
    all
}
