//! The certificate of the server and its key: read from two files, and replaced while connections are served.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, ServerConfig};

use crate::access::Digest;
use crate::sync::Arc;

/// What the server speaks inside of TLS (RFC 7301).
const HTTP: &[u8] = b"http/1.1";
/// A file that is larger is no certificate.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The certificate in force.
pub(crate) struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    current: Arc<Current>,
    pub(crate) config: Arc<ServerConfig>,
    /// The files as they were last looked at, right or wrong.
    seen: Mutex<Digest>,
}

/// What a handshake takes its certificate from.
#[derive(Debug)]
struct Current(parking_lot::RwLock<Arc<CertifiedKey>>);

/// Why a certificate cannot be used. The text does not show the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidCertificate {
    /// The field of [`Config`](crate::Config) with the file that is wrong.
    pub setting: &'static str,
    /// That file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl Certificate {
    /// Reads a certificate with its chain, and its key.
    pub(crate) fn read(cert: &Path, key: &Path) -> Result<Certificate, InvalidCertificate> {
        let files = Files::read(cert, key)?;
        let current = Arc::new(Current(parking_lot::RwLock::new(files.certified_key()?)));
        let provider = Arc::new(ring::default_provider());
        let wrong = |error: Error| files.wrong_cert(error.to_string());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(wrong)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as _);
        config.alpn_protocols = vec![HTTP.to_vec()];
        // A client that comes back needs no signature, and the server keeps nothing for it.
        config.ticketer = ring::Ticketer::new().map_err(wrong)?;
        config.send_tls13_tickets = 1;
        Ok(Certificate {
            cert: cert.to_owned(),
            key: key.to_owned(),
            current,
            config: Arc::new(config),
            seen: Mutex::new(files.digest()),
        })
    }

    /// Reads the files again. Handshakes from now on use the new pair; a wrong one leaves the old in force.
    pub(crate) fn reload(&self) -> Result<(), InvalidCertificate> {
        let mut seen = self.seen.lock();
        self.replace(&mut seen, true).map(drop)
    }

    /// Reads the files again if they are others than before. Whether they were.
    pub(crate) fn reload_if_changed(&self) -> Result<bool, InvalidCertificate> {
        let mut seen = self.seen.lock();
        self.replace(&mut seen, false)
    }

    fn replace(&self, seen: &mut Digest, always: bool) -> Result<bool, InvalidCertificate> {
        let files = match Files::read(&self.cert, &self.key) {
            Ok(files) => files,
            Err(invalid) => {
                let text = Digest::of(invalid.reason.as_bytes());
                let is_new = std::mem::replace(seen, text.clone()) != text;
                return if is_new || always {
                    Err(invalid)
                } else {
                    Ok(false)
                };
            }
        };
        let digest = files.digest();
        if std::mem::replace(seen, digest.clone()) == digest && !always {
            return Ok(false);
        }
        *self.current.0.write() = files.certified_key()?;
        Ok(true)
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }
}

/// What both files hold.
struct Files<'a> {
    cert_file: &'a Path,
    key_file: &'a Path,
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Files<'_> {
    fn read<'a>(cert_file: &'a Path, key_file: &'a Path) -> Result<Files<'a>, InvalidCertificate> {
        Ok(Files {
            cert_file,
            key_file,
            cert: read_file("tls_cert", cert_file)?,
            key: read_file("tls_key", key_file)?,
        })
    }

    fn digest(&self) -> Digest {
        Digest::of(&[&self.cert[..], &self.key[..]].concat())
    }

    /// The pair, which must belong together.
    fn certified_key(&self) -> Result<Arc<CertifiedKey>, InvalidCertificate> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.cert).collect();
        let chain = chain.map_err(|error| self.wrong_cert(format!("is no PEM: {error}")))?;
        if chain.is_empty() {
            return Err(self.wrong_cert("holds no certificate (PEM)".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| self.wrong_key(without_key(&self.key).to_owned()))?;
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider());
        key.map(Arc::new).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                self.wrong_key("is not the key of the certificate".to_owned())
            }
            Error::InvalidCertificate(_) => self.wrong_cert(error.to_string()),
            error => self.wrong_key(error.to_string()),
        })
    }

    fn wrong_cert(&self, reason: String) -> InvalidCertificate {
        invalid("tls_cert", self.cert_file, reason)
    }

    fn wrong_key(&self, reason: String) -> InvalidCertificate {
        invalid("tls_key", self.key_file, reason)
    }
}

fn read_file(setting: &'static str, file: &Path) -> Result<Vec<u8>, InvalidCertificate> {
    let wrong = |reason: String| invalid(setting, file, reason);
    let about = fs::metadata(file).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if !about.is_file() || about.len() > MAX_FILE_BYTES {
        return Err(wrong("is no file of at most 1 MiB".to_owned()));
    }
    fs::read(file).map_err(|error| wrong(format!("cannot be read: {error}")))
}

fn invalid(setting: &'static str, file: &Path, reason: String) -> InvalidCertificate {
    InvalidCertificate {
        setting,
        file: file.to_owned(),
        reason,
    }
}

/// Why there is no private key in a file.
fn without_key(pem: &[u8]) -> &'static str {
    let text = String::from_utf8_lossy(pem);
    match text.contains("ENCRYPTED") {
        true => "is encrypted; the server needs a key without a passphrase",
        false => "holds no private key (PEM: PKCS #8, PKCS #1 or SEC 1)",
    }
}

impl fmt::Display for InvalidCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.file.display(), self.reason)
    }
}

impl std::error::Error for InvalidCertificate {}
