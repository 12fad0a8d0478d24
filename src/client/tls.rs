//! TLS in the client: which certificates it accepts, and the session of a connection.
//!
//! Two locks: `out` is held by whoever sends, also while it waits for the server; `state` only for one step of encryption or
//! decryption. `state` is taken under `out`, nothing under `state`. So a thread that waits for room holds up no reading.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore};
use ureq::tls::TlsConfig;

use super::Error;
use super::stream::{receive, send};
use crate::tls::{RECORD_BYTES, Received, authorities, for_requests};

/// Received at a time.
const RECEIVE_BYTES: usize = 16 << 10;
/// How long a thread that reads may wait for room for what TLS itself has to say; the rest goes with the next message.
const OWN_TIMEOUT: Duration = Duration::from_millis(1);

/// Whose certificates a client accepts. Read when the first connection needs it.
pub(super) struct Trust {
    /// PEM; without it, what the system trusts.
    ca_file: Option<PathBuf>,
    read: OnceLock<Result<Accepted, String>>,
}

#[derive(Clone)]
struct Accepted {
    websocket: Arc<ClientConfig>,
    rest: TlsConfig,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("ca_file", &self.ca_file)
            .finish_non_exhaustive()
    }
}

impl Trust {
    /// A file that holds no certificates is an error at once.
    pub(super) fn new(ca_file: Option<PathBuf>) -> Result<Trust, Error> {
        let trust = Trust {
            ca_file,
            read: OnceLock::new(),
        };
        if trust.ca_file.is_some() {
            trust.accepted()?;
        }
        Ok(trust)
    }

    /// The session of a new connection to this host.
    pub(super) fn session(&self, host: &str) -> Result<Session, Error> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| Error::invalid("url: not a host name"))?;
        let config = Arc::clone(&self.accepted()?.websocket);
        let tls = ClientConnection::new(config, name);
        let tls = tls.map_err(|error| Error::System(io::Error::other(error)))?;
        Ok(Session {
            out: Mutex::default(),
            state: Mutex::new(State {
                tls,
                received: Received::default(),
            }),
        })
    }

    pub(super) fn of_rest(&self) -> Result<TlsConfig, Error> {
        Ok(self.accepted()?.rest.clone())
    }

    fn accepted(&self) -> Result<&Accepted, Error> {
        let accepted = self.read.get_or_init(|| {
            let accepted = authorities(self.ca_file.as_deref()).and_then(Accepted::new);
            accepted.map_err(|reason| match self.ca_file {
                Some(_) => format!("ca_file: {reason}"),
                None => reason,
            })
        });
        accepted.as_ref().map_err(Error::invalid)
    }
}

/// For a request that holds no secret, and whose response is not believed.
pub(super) fn any_certificate() -> TlsConfig {
    TlsConfig::builder()
        .disable_verification(true)
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build()
}

impl Accepted {
    fn new(roots: Vec<CertificateDer<'static>>) -> Result<Accepted, String> {
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let rest = for_requests(&roots);
        let mut store = RootCertStore::empty();
        let (added, _) = store.add_parsable_certificates(roots);
        if added == 0 {
            return Err("no certificate there is that of an authority".to_owned());
        }
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Accepted {
            websocket: Arc::new(config),
            rest,
        })
    }
}

pub(super) struct Session {
    /// Ciphertext that is not sent.
    out: Mutex<Vec<u8>>,
    state: Mutex<State>,
}

struct State {
    tls: ClientConnection,
    received: Received,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session(not shown)")
    }
}

impl Session {
    pub(super) fn handshake(&self, tcp: &TcpStream, until: Instant) -> io::Result<()> {
        let until = Some(until);
        let mut bytes = vec![0; RECEIVE_BYTES];
        loop {
            self.flush(tcp, until)?;
            if !self.state.lock().tls.is_handshaking() {
                return self.flush(tcp, until);
            }
            let count = receive(tcp, &mut bytes, until)?;
            self.accept(tcp, &bytes[..count])?;
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    pub(super) fn read(
        &self,
        tcp: &TcpStream,
        buffer: &mut [u8],
        until: Option<Instant>,
    ) -> io::Result<usize> {
        let mut bytes = Vec::new();
        loop {
            if let Some(count) = self.state.lock().received.take(buffer)? {
                return Ok(count);
            }
            bytes.resize(RECEIVE_BYTES, 0);
            let count = receive(tcp, &mut bytes, until)?;
            self.accept(tcp, &bytes[..count])?;
        }
    }

    /// Encrypts one record. What of it finds no room is left for the next write or flush.
    pub(super) fn write(
        &self,
        tcp: &TcpStream,
        bytes: &[u8],
        until: Option<Instant>,
    ) -> io::Result<usize> {
        let mut out = self.out.lock();
        self.send_all(&mut out, tcp, until)?;
        let record = &bytes[..bytes.len().min(RECORD_BYTES)];
        let written = self.state.lock().tls.writer().write(record)?;
        match self.send_all(&mut out, tcp, until) {
            Err(error) if is_timeout(&error) => Ok(written),
            sent => sent.map(|()| written),
        }
    }

    pub(super) fn flush(&self, tcp: &TcpStream, until: Option<Instant>) -> io::Result<()> {
        self.send_all(&mut self.out.lock(), tcp, until)
    }

    /// Says that nothing follows, if that needs no waiting.
    pub(super) fn close(&self, tcp: &TcpStream) {
        if let Some(mut out) = self.out.try_lock() {
            self.state.lock().tls.send_close_notify();
            let until = Some(Instant::now() + OWN_TIMEOUT);
            let _ = self.send_all(&mut out, tcp, until);
        }
    }

    /// Sends all ciphertext there is; at the deadline the rest is kept.
    fn send_all(
        &self,
        out: &mut Vec<u8>,
        tcp: &TcpStream,
        until: Option<Instant>,
    ) -> io::Result<()> {
        {
            let mut state = self.state.lock();
            while state.tls.wants_write() {
                state.tls.write_tls(out)?;
            }
        }
        let mut sent = 0;
        let result = loop {
            match out.get(sent..) {
                None | Some([]) => break Ok(()),
                Some(rest) => match send(tcp, rest, until) {
                    Ok(count) => sent += count,
                    Err(error) => break Err(error),
                },
            }
        };
        out.drain(..sent);
        result
    }

    fn accept(&self, tcp: &TcpStream, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let State { tls, received } = &mut *state;
        let accepted = received.accept(tls, bytes, |_| {});
        let wants_write = state.tls.wants_write();
        drop(state);
        if wants_write && let Some(mut out) = self.out.try_lock() {
            let until = Some(Instant::now() + OWN_TIMEOUT);
            let _ = self.send_all(&mut out, tcp, until);
        }
        accepted
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Why TLS failed, for people; `None` if the error is of something else.
pub(super) fn reason(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(reason_of(error))
}

/// The same of an error of rustls.
pub(super) fn reason_of(error: &rustls::Error) -> String {
    use rustls::Error as Tls;
    match error {
        Tls::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "nobody whom this program trusts has signed its certificate; give the file of the authority with ca_file(), --ca or \
             PUBSUB_CA_FILE"
                .to_owned()
        }
        Tls::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another name".to_owned(),
        Tls::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "its certificate has expired".to_owned(),
        Tls::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "its certificate is not valid yet".to_owned(),
        Tls::InvalidCertificate(error) if error.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is that of an authority (CA:TRUE), not of a server".to_owned()
        }
        Tls::InvalidCertificate(error) => format!("its certificate is not accepted: {error}"),
        Tls::InvalidMessage(_) => "it does not speak TLS there; use ws://".to_owned(),
        error => format!("TLS failed: {error}"),
    }
}
