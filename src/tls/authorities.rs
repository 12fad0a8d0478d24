//! The authorities whose certificates are accepted: those of a file, or those of the system.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The certificates in this file (PEM); without one, those that the system trusts. Never none.
///
/// # Errors
/// One line for people.
pub(crate) fn authorities(file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, String> {
    match file {
        Some(file) => of_file(file),
        None => of_system(),
    }
}

fn of_file(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let name = file.display();
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(format!("{name} holds no certificate (PEM)")),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

fn of_system() -> Result<Vec<CertificateDer<'static>>, String> {
    let found = rustls_native_certs::load_native_certs();
    match (found.certs.is_empty(), found.errors.first()) {
        (false, _) => Ok(found.certs),
        (true, Some(error)) => Err(format!("the certificates of the system: {error}")),
        (true, None) => Err(
            "this system has no certificates; install ca-certificates, or give a file of authorities"
                .to_owned(),
        ),
    }
}

/// The settings of HTTP requests to servers whose certificates these authorities have signed.
pub(crate) fn for_requests(authorities: &[CertificateDer<'_>]) -> TlsConfig {
    let roots = authorities
        .iter()
        .map(|root| Certificate::from_der(root).to_owned());
    TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots.collect::<Vec<_>>()))
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build()
}
