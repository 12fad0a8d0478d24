//! TLS at the server's port (RFC 8446, RFC 5246): the certificate, read again when its files change, and connections that are
//! encrypted with it.

mod certificate;
mod reload;
mod stream;

pub(super) use certificate::Certificate;
pub use certificate::InvalidCertificate;
pub(super) use reload::CertificateWatch;
pub(super) use stream::{HandshakeError, TlsStream};
