//! Fetches a small document over https, in bounded time and memory.

use std::path::Path;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::sync::Arc;

const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_REDIRECTS: u32 = 3;

/// The error is one line for people.
pub(super) fn get(url: &str, ca_file: Option<&Path>, max_bytes: usize) -> Result<Vec<u8>, String> {
    let tls = TlsConfig::builder()
        .root_certs(roots(ca_file)?)
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .https_only(true)
        .max_redirects(MAX_REDIRECTS)
        .max_idle_connections(0)
        .timeout_global(Some(TIMEOUT))
        .user_agent(concat!("threadcast/", env!("CARGO_PKG_VERSION")))
        .build();
    let fetched = Agent::new_with_config(config)
        .get(url)
        .call()
        .and_then(|response| {
            let body = response.into_body().into_with_config();
            body.limit(max_bytes as u64).read_to_vec()
        });
    fetched.map_err(|error| error.to_string().replace(char::is_control, " "))
}

/// Read each time, so that a new file or a new authority of the system needs no restart.
fn roots(ca_file: Option<&Path>) -> Result<RootCerts, String> {
    let roots: Vec<CertificateDer<'_>> = match ca_file {
        None => rustls_native_certs::load_native_certs().certs,
        Some(path) => CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| format!("{}: {error}", path.display()))?,
    };
    if roots.is_empty() {
        return Err("there is no certificate of an authority".to_owned());
    }
    let roots = roots
        .iter()
        .map(|root| Certificate::from_der(root).to_owned());
    Ok(RootCerts::new_with_certs(&roots.collect::<Vec<_>>()))
}
