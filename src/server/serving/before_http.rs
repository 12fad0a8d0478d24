//! What comes before HTTP on a connection, on its thread: the PROXY header, the handshake of TLS, and the place of the client's
//! address. All of it, and the first head, has the request timeout, counted from accept.

use std::io;
use std::net::{Shutdown, TcpStream};

use super::Serving;
use crate::limited_log::limited;
use crate::metrics::Protocol;
use crate::server::address_limits::AddressPlace;
use crate::server::connection_info::ConnectionInfo;
use crate::server::http::deadline::Deadline;
use crate::server::http::serve::{refuse, send_last};
use crate::server::proxy_header;
use crate::server::tls::HandshakeError;
use crate::server::transport::Transport;

/// The response to a request that came without TLS.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 51\r\nConnection: close\r\n\r\nThis port speaks TLS: use https:// or wss:// URLs.\n";

impl Serving {
    /// A connection that was accepted just now. Fails if the system gives no random bytes.
    pub(in crate::server) fn transport(&self, socket: TcpStream) -> io::Result<Transport> {
        match &self.certificate {
            Some(certificate) => Transport::tls(socket, certificate),
            None => Ok(Transport::tcp(socket)),
        }
    }

    /// The place of the client, which the connection keeps; `None` if it can not be used.
    pub(super) fn before_http(
        &self,
        info: &ConnectionInfo,
        transport: &Transport,
    ) -> Option<AddressPlace> {
        let trusted = &self.edge.trusted_proxies;
        let is_named = self.config.proxy_protocol && trusted.contain(info.peer());
        let without_tls = transport.without_tls();
        if is_named && !self.read_proxy_header(info, &without_tls) {
            without_tls.shutdown(Shutdown::Both);
            return None;
        }
        if !self.encrypt(info, transport) {
            return None;
        }
        // Whoever connects directly has got a place from the acceptor.
        let place = match is_named {
            true => self.edge.place_of_connection(info.client()),
            false => Ok(AddressPlace::default()),
        };
        let refused = |problem| refuse(transport, &problem, false, &self.edge);
        place.map_err(refused).ok()
    }

    /// The handshake of TLS, if the server has a certificate. Whether the connection can be used.
    fn encrypt(&self, info: &ConnectionInfo, transport: &Transport) -> bool {
        let Some(_) = &self.certificate else {
            return true;
        };
        let deadline = Deadline::of(info.opened(), self.config.request_timeout);
        let reason = match transport.handshake(deadline) {
            Ok(()) => {
                self.edge.metrics.tls_handshakes.count("ok");
                return true;
            }
            Err(HandshakeError::PlainHttp) => {
                self.edge.metrics.tls_handshakes.count("plain_http");
                send_last(&transport.without_tls(), PLAIN_HTTP, &self.edge);
                "plain HTTP".to_owned()
            }
            Err(HandshakeError::Io(error)) => {
                self.edge.metrics.tls_handshakes.count("failed");
                transport.without_tls().shutdown(Shutdown::Both);
                error.to_string()
            }
        };
        limited!(self.logs.failed_tls, info, "TLS handshake failed", connection = info.id, peer = %info.client(), reason);
        false
    }

    /// Notes whom the proxy that opened this connection names; `false` if it does not do so properly and in time.
    fn read_proxy_header(&self, info: &ConnectionInfo, transport: &Transport) -> bool {
        let deadline = Deadline::of(info.opened(), self.config.request_timeout);
        match proxy_header::read(transport, deadline) {
            Ok((named, bytes)) => {
                self.broker.metrics().received(Protocol::Http, bytes);
                if let Some(client) = named {
                    info.serves(client.into());
                }
                true
            }
            Err(error) => {
                let (log, peer) = (&self.logs.proxy_headers, info.peer());
                limited!(log, warn, "connection closed: a trusted proxy sent no valid PROXY header", connection = info.id, %peer, %error);
                false
            }
        }
    }
}
