//! Certificates of a private authority.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use super::Config;

static FILES: AtomicU32 = AtomicU32::new(0);

/// Signs certificates for `localhost` and 127.0.0.1.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) cert: String,
    pub(crate) key: String,
    /// As a client gets it.
    pub(crate) der: Vec<u8>,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn issue(&self) -> Issued {
        self.issue_until(4000)
    }

    pub(crate) fn issue_expired(&self) -> Issued {
        self.issue_until(2020)
    }

    /// The certificate of the authority itself.
    pub(crate) fn own(&self) -> Issued {
        Issued {
            cert: self.0.pem(),
            key: self.0.key().serialize_pem(),
            der: self.0.der().to_vec(),
        }
    }

    fn issue_until(&self, year: i32) -> Issued {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("valid names");
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.0).expect("a certificate");
        Issued {
            cert: cert.pem(),
            key: key.serialize_pem(),
            der: cert.der().to_vec(),
        }
    }

    /// Of a client that trusts this authority.
    pub(crate) fn client_config(&self) -> Arc<ClientConfig> {
        self.client_config_of(rustls::DEFAULT_VERSIONS)
    }

    pub(crate) fn client_config_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("known versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

/// The two files of a server, deleted when dropped.
pub(crate) struct CertificateFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl CertificateFiles {
    pub(crate) fn new(issued: &Issued) -> CertificateFiles {
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| {
            let name = format!("threadcast-{kind}-{}-{number}.pem", std::process::id());
            std::env::temp_dir().join(name)
        };
        let files = CertificateFiles {
            cert: file("cert"),
            key: file("key"),
        };
        files.write(issued);
        files
    }

    pub(crate) fn write(&self, issued: &Issued) {
        write(&self.cert, &issued.cert);
        write(&self.key, &issued.key);
    }

    pub(crate) fn put_into(&self, config: &mut Config) {
        config.tls_cert = Some(self.cert.clone());
        config.tls_key = Some(self.key.clone());
    }
}

impl Drop for CertificateFiles {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.cert);
        let _gone = fs::remove_file(&self.key);
    }
}

pub(crate) fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a file in the temporary folder");
}
