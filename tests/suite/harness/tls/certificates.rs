//! Certificates of a private authority.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use crate::harness::{Config, TextFile};

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
    pub(crate) cert: TextFile,
    pub(crate) key: TextFile,
}

impl CertificateFiles {
    pub(crate) fn new(issued: &Issued) -> CertificateFiles {
        CertificateFiles {
            cert: TextFile::new(&issued.cert),
            key: TextFile::new(&issued.key),
        }
    }

    pub(crate) fn write(&self, issued: &Issued) {
        self.cert.write(&issued.cert);
        self.key.write(&issued.key);
    }

    pub(crate) fn put_into(&self, config: &mut Config) {
        config.tls_cert = Some(self.cert.path().to_owned());
        config.tls_key = Some(self.key.path().to_owned());
    }
}
