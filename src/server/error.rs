//! Why a server does not start.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use super::tls::InvalidCertificate;
use crate::access::InvalidKeysFile;
use crate::config::InvalidConfig;

/// Why a server did not start. The text is one line.
#[derive(Debug)]
pub enum StartError {
    /// A setting is outside of its range.
    Config(InvalidConfig),
    /// The file of keys cannot be read, or is wrong.
    Keys(InvalidKeysFile),
    /// The certificate or its key cannot be used.
    Certificate(InvalidCertificate),
    /// The file with the public keys of tokens cannot be read, or is wrong.
    JwtKeys(InvalidKeysFile),
    /// The host has no address, or none of this machine.
    Host {
        /// As configured.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// The port is taken.
    InUse {
        /// The address.
        addr: SocketAddr,
    },
    /// The system refused a socket or a thread.
    Io(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Config(invalid) => invalid.fmt(f),
            StartError::Keys(invalid) | StartError::JwtKeys(invalid) => invalid.fmt(f),
            StartError::Certificate(invalid) => write!(f, "{}: {invalid}", invalid.setting),
            StartError::Host { host, source } => write!(f, "cannot listen on '{host}': {source}"),
            StartError::InUse { addr } => write!(f, "{addr} is in use by another process"),
            StartError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> StartError {
        StartError::Io(error)
    }
}
