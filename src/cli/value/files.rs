//! Paths of files. Those of certificates and keys are read at once, so that a wrong one is an error of its setting.

use std::path::PathBuf;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Allowed;

/// A path; an empty text is none. What is wrong with the file itself shows when it is read.
pub(in crate::cli) fn file() -> Allowed<Option<PathBuf>> {
    Allowed::new("a path".to_owned(), |text| {
        Some((!text.is_empty()).then(|| text.into()))
    })
}

/// The path of a file with certificates; an empty text is none.
pub(in crate::cli) fn certificates() -> Allowed<Option<PathBuf>> {
    readable(
        "the path of a file with certificates (PEM)",
        has_certificates,
    )
}

/// The path of a file with a private key; an empty text is none.
pub(in crate::cli) fn private_key() -> Allowed<Option<PathBuf>> {
    readable("the path of a file with a private key (PEM)", |path| {
        PrivateKeyDer::from_pem_file(path).is_ok()
    })
}

/// The path of a file that is right as it is now; an empty text is none.
fn readable(phrase: &str, is_right: fn(&str) -> bool) -> Allowed<Option<PathBuf>> {
    Allowed::new(phrase.to_owned(), move |text| match text {
        "" => Some(None),
        path => is_right(path).then(|| Some(path.into())),
    })
}

fn has_certificates(path: &str) -> bool {
    let Ok(certificates) = CertificateDer::pem_file_iter(path) else {
        return false;
    };
    let mut roots = RootCertStore::empty();
    let mut certificates = certificates.map(|read| read.is_ok_and(|read| roots.add(read).is_ok()));
    let are_valid = certificates.all(|is_valid| is_valid);
    are_valid && !roots.is_empty()
}
