//! An in-memory Pub/Sub server on plain threads: WebSocket and REST on one port, no async runtime.
//!
//! [`Server`] is all it takes to embed one; [`Config`] holds every limit. [`client`] is how a Rust program talks to one. The wire
//! protocol is described for client authors in `docs/protocol.md`.
//!
//! ```
//! # #[cfg(feature = "server")] {
//! use threadcast::{Config, Server, TopicOptions};
//!
//! let server = Server::bind(Config { port: 0, ..Config::default() })?;
//! server.create_topic("orders", &TopicOptions::default())?;
//! let published = server.publish("orders", &["any", "JSON"])?;
//! assert_eq!(published.seq, 1);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Features.** `server` and `client` are the two halves of this library; each can be had without the other. `cli` is the program
//! `threadcast` and needs both. All are on by default.
//!
//! The modules, from the outside in: `server` owns sockets and threads; `broker` owns topics, their logs and their
//! subscribers, and knows no socket; `access` knows keys and what each may do; `metrics` counts; `protocol` is what goes
//! over the wire, as types. Imports run one way: server → broker, access → protocol; [`config`] is below the server and
//! the broker. [`client`] imports `protocol` only.

#[cfg(all(feature = "server", not(unix)))]
compile_error!(
    "the server needs a Unix; the client alone compiles here: default-features = false, features = [\"client\"]"
);

#[cfg(feature = "client")]
pub mod client;
#[cfg(any(feature = "client", feature = "server"))]
mod protocol;

#[cfg(feature = "server")]
mod access;
#[cfg(feature = "server")]
mod broker;
#[cfg(feature = "server")]
pub mod config;
#[cfg(all(fuzzing, feature = "server"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "server")]
mod limited_log;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod load;
#[cfg(feature = "server")]
mod metrics;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod sync;
#[cfg(any(feature = "server", feature = "tls"))]
mod tls;

/// The example of the page is compiled and run as a test.
#[cfg(all(doctest, feature = "server"))]
#[doc = include_str!("../docs/embedding.md")]
mod embedding_page {}

/// The example in Rust is compiled and run as a test.
#[cfg(all(doctest, feature = "server"))]
#[doc = include_str!("../docs/tokens.md")]
mod tokens_page {}

#[cfg(any(feature = "client", feature = "server"))]
pub use protocol::{OverflowPolicy, UnknownOverflowPolicy};

#[cfg(feature = "server")]
pub use self::{
    access::{
        ApiKey, InvalidApiKey, InvalidJwtKeys, InvalidJwtSecret, InvalidKeysFile, JwtKeys,
        JwtSecret, NewKey, NewKeyError, NewToken, NewTokenError,
    },
    broker::TopicOptions,
    config::Config,
    server::{
        ChangeTopicError, ConnectionCap, CreateTopicError, DeleteTopicError, InvalidCertificate,
        PublishError, Published, Server, ServerHandle, ShutdownReport, StartError, Stats,
        SubscriberInfo, SubscriberList, TopicInfo,
    },
};
