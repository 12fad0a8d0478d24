//! The server: one port, a thread per connection, and their orderly end.
//!
//! In reading order: the [`listener`] runs the [`acceptor`] and the [`rejector`]; [`connections`] lists the open
//! connections; [`http`] reads requests; [`authorization`] checks their keys; the [`rest`] handlers answer them;
//! [`websocket`] serves upgraded connections, [`event_stream`] Server-Sent Events; [`embedding`] is for the program around the server.
//! Only this module knows sockets, tungstenite and tiny_http.

mod acceptor;
mod address_limits;
mod authorization;
mod capacity;
mod client_address;
mod connection_info;
mod connections;
mod credential;
mod dashboard;
mod embedding;
mod error;
mod event_stream;
mod http;
mod jwks;
mod limit;
mod listener;
mod machine;
mod panics;
mod places;
mod proxy_header;
mod rejector;
mod rest;
mod semaphore;
mod serving;
mod shutdown;
mod timers;
mod tls;
mod token_bucket;
mod transport;
mod websocket;
mod write_deadline;

use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

#[cfg(fuzzing)]
pub(crate) use self::client_address::TrustedProxies;
#[cfg(fuzzing)]
pub(crate) use self::http::{body, fields, head, request_line, scan, target};
#[cfg(fuzzing)]
pub(crate) use self::proxy_header::{Header, decode as decode_proxy_header};
#[cfg(fuzzing)]
pub(crate) use self::rest::Route;
pub use capacity::ConnectionCap;
pub use embedding::{
    ChangeTopicError, CreateTopicError, DeleteTopicError, PublishError, Published, ServerHandle,
    Stats, SubscriberInfo, SubscriberList, TopicInfo,
};
pub use error::StartError;
pub use shutdown::ShutdownReport;
pub use tls::InvalidCertificate;

use self::connections::{Connections, Reaper};
use self::jwks::JwksThread;
use self::listener::Listener;
use self::panics::Panics;
use self::serving::Serving;
use self::shutdown::end_connections;
use self::timers::Timers;
use self::tls::{Certificate, CertificateWatch};
use self::websocket::EndReason;
use crate::access::{Guard, InvalidKeysFile, TokenSettings, Verifier};
use crate::config::{AdvertisedAddress, Config, Setting};
use crate::metrics::SharedMetrics;
use crate::sync::Arc;

/// How long the REST workers may take to end when no connection waits for them any more.
const REST_GRACE: Duration = Duration::from_millis(250);

/// A running server. It serves on threads of its own until [`Server::shutdown`] or until it is dropped; both end every
/// connection and join every thread.
///
/// ```
/// use std::io::{Read, Write};
/// use threadcast::{Config, Server};
///
/// // Port 0 takes any free one: many servers can run in one process.
/// let server = Server::bind(Config { port: 0, ..Config::default() })?;
/// let mut client = std::net::TcpStream::connect(server.local_addr())?;
/// client.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert!(answer.starts_with("HTTP/1.1 200"));
///
/// let report = server.shutdown();
/// assert_eq!(report.events_undelivered, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    address: SocketAddr,
    cap: ConnectionCap,
    panics: Panics,
    handle: ServerHandle,
    /// Taken when it stops.
    running: Option<Running>,
}

struct Running {
    serving: Arc<Serving>,
    connections: Arc<Connections>,
    listener: Listener,
    timers: Timers,
    certificate_watch: Option<CertificateWatch>,
    jwks: JwksThread,
    reaper: Reaper,
}

impl Server {
    /// Opens the port and begins to serve.
    ///
    /// # Errors
    /// [`StartError`] when a setting or the file of keys is wrong, the host is none of this machine's, the port is taken, or the system
    /// refuses a thread or a socket.
    pub fn bind(config: Config) -> Result<Server, StartError> {
        let settings = config.settings();
        Server::bind_with_settings(config, settings)
    }

    /// Like [`Server::bind`], for a program that knows where its settings came from: `GET /config` shows these instead of
    /// [`Config::settings`].
    ///
    /// # Errors
    /// As of [`Server::bind`].
    pub fn bind_with_settings(
        config: Config,
        mut settings: Vec<Setting>,
    ) -> Result<Server, StartError> {
        config.validate().map_err(StartError::Config)?;
        let guard = guard(&config)?;
        let certificate = read_certificate(&config)?;
        let listener = listener::listen(&config)?;
        let address = listener.local_addr()?;
        let cap = capacity::admit(config.max_connections);
        cap.tell(&mut settings);
        let panics = Panics::default();
        let metrics = SharedMetrics::default();
        let (connections, reaper) = Connections::start(
            cap.connections,
            panics.clone(),
            SharedMetrics::clone(&metrics),
        )?;
        let open = || {
            let panics = panics.clone();
            let address = advertised(&config, address);
            let serving = Serving::start(
                config,
                guard,
                certificate,
                &connections,
                panics,
                settings,
                address,
            )?;
            let serving = Arc::new(serving);
            let panics = &serving.edge.panics;
            let timers = Timers::start(&serving.broker, panics)?;
            let jwks = JwksThread::start(&serving.guard, &serving.edge.metrics, panics)?;
            let certificate = serving.certificate.as_ref();
            let watch = certificate.map(|certificate| CertificateWatch::start(certificate, panics));
            let watch = watch.transpose()?;
            let listener = Listener::start(listener, &serving, &connections)?;
            Ok((serving, listener, timers, jwks, watch))
        };
        let (serving, listener, timers, jwks, certificate_watch) = match open() {
            Ok(opened) => opened,
            Err(error) => {
                reaper.join();
                return Err(StartError::Io(error));
            }
        };
        let handle = ServerHandle::new(&serving.broker, connections.open_count(), &serving.config);
        Ok(Server {
            address,
            cap,
            panics,
            handle,
            running: Some(Running {
                serving,
                connections,
                listener,
                timers,
                certificate_watch,
                jwks,
                reaper,
            }),
        })
    }

    /// What [`bind_with_settings`](Server::bind_with_settings) would say about this configuration, without opening the
    /// port: everything that is wrong, or the settings that would be in force.
    ///
    /// # Errors
    /// One [`StartError`] for each part that is wrong: the settings, the file of keys, the host.
    ///
    /// ```
    /// use threadcast::{Config, Server};
    ///
    /// let config = Config { keys_file: Some("/nowhere/keys.toml".into()), ..Config::default() };
    /// let wrong = Server::check(&config, config.settings()).unwrap_err();
    /// assert_eq!(wrong.len(), 1);
    /// ```
    pub fn check(
        config: &Config,
        mut settings: Vec<Setting>,
    ) -> Result<Vec<Setting>, Vec<StartError>> {
        let mut wrong = Vec::new();
        wrong.extend(config.validate().map_err(StartError::Config).err());
        wrong.extend(guard(config).err());
        wrong.extend(read_certificate(config).err());
        wrong.extend(listener::check_host(&config.host).err());
        if !wrong.is_empty() {
            return Err(wrong);
        }
        capacity::admit(config.max_connections).tell(&mut settings);
        Ok(settings)
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it takes at once, and what sets that bound.
    #[must_use]
    pub fn connection_cap(&self) -> ConnectionCap {
        self.cap
    }

    /// Panics in the server's threads since it started. Each ended one connection or one request at most.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.panics.count()
    }

    /// The topics of this server, for another thread. It may outlive the server.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Reads the file of keys again, and the file with the public keys of tokens. The next request is judged by the new keys; a
    /// WebSocket whose key is gone, or was changed in any way, is closed with 4001. The holder of a token goes on until it expires.
    /// Without such a file nothing happens.
    ///
    /// # Errors
    /// [`InvalidKeysFile`], also logged: then all keys stay as they are.
    pub fn reload_keys(&self) -> Result<(), InvalidKeysFile> {
        match &self.running {
            Some(running) => {
                let reloaded = self.panics.catch(|| running.reload_keys());
                reloaded.unwrap_or_else(|| Err(running.keys_not_reloaded()))
            }
            None => Ok(()),
        }
    }

    /// Reads the certificate and its key again. Connections from now on use the new pair; those that are open stay. Without a
    /// certificate nothing happens.
    ///
    /// The server looks by itself every two seconds, too.
    ///
    /// # Errors
    /// [`InvalidCertificate`], also logged: then the old pair stays in force.
    pub fn reload_certificate(&self) -> Result<(), InvalidCertificate> {
        let running = self.running.as_ref();
        let Some(certificate) = running.and_then(|running| running.serving.certificate.as_ref())
        else {
            return Ok(());
        };
        let reloaded = certificate.reload();
        match &reloaded {
            Ok(()) => tracing::info!("the certificate was read again"),
            Err(error) => tracing::warn!(%error, "the certificate was not read again"),
        }
        reloaded
    }

    /// Stops in order: takes nothing new, tells every WebSocket, sends what is queued within the drain timeout, closes
    /// every connection and joins every thread.
    pub fn shutdown(mut self) -> ShutdownReport {
        self.running.take().map(Running::stop).unwrap_or_default()
    }
}

/// A server is also a handle to itself: `server.publish(…)`.
impl Deref for Server {
    type Target = ServerHandle;

    fn deref(&self) -> &ServerHandle {
        &self.handle
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

impl Running {
    fn reload_keys(&self) -> Result<(), InvalidKeysFile> {
        let guard = &self.serving.guard;
        match guard.reload() {
            Ok(true) => {}
            Ok(false) => {
                tracing::info!("there is nothing to reload");
                return Ok(());
            }
            Err(error) => {
                tracing::warn!(%error, "the keys were not reloaded");
                return Err(error);
            }
        }
        let mut websockets = self.connections.websockets();
        websockets.retain(|websocket| !websocket.info.is_admitted_by(guard));
        for websocket in &websockets {
            websocket.end(EndReason::Unauthorized);
        }
        let (keys, closed) = (guard.key_count(), websockets.len());
        tracing::info!(keys, closed, "keys reloaded");
        Ok(())
    }

    fn keys_not_reloaded(&self) -> InvalidKeysFile {
        InvalidKeysFile {
            file: self.serving.config.keys_file.clone().unwrap_or_default(),
            reason: "the server failed to reload it".to_owned(),
        }
    }

    fn stop(self) -> ShutdownReport {
        let Running {
            serving,
            connections,
            listener,
            timers,
            certificate_watch,
            jwks,
            reaper,
        } = self;
        serving.broker.drain();
        jwks.stop();
        drop((timers, certificate_watch));
        listener.close();
        let report = end_connections(&connections, serving.config.drain_timeout, || {
            serving.edge.cancel();
        });
        serving.edge.gateway.shutdown(REST_GRACE);
        reaper.join();
        serving.broker.stop();
        drop(jwks);
        report
    }
}

fn read_certificate(config: &Config) -> Result<Option<Arc<Certificate>>, StartError> {
    let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else {
        return Ok(None);
    };
    let certificate = Certificate::read(cert, key).map_err(StartError::Certificate)?;
    Ok(Some(Arc::new(certificate)))
}

fn guard(config: &Config) -> Result<Guard, StartError> {
    let tokens = Verifier::new(TokenSettings {
        secret: config.jwt_secret.clone(),
        keys: config.jwt_keys.clone(),
        ca_file: config.jwt_keys_ca_file.clone(),
        audience: config.jwt_audience.clone(),
        issuer: config.jwt_issuer.clone(),
    });
    let tokens = tokens.map_err(StartError::JwtKeys)?;
    let (api_key, keys_file) = (config.api_key.clone(), config.keys_file.clone());
    Guard::new(api_key, keys_file, tokens).map_err(StartError::Keys)
}

/// The address that the other nodes of a cluster show.
fn advertised(config: &Config, bound: SocketAddr) -> String {
    let set = config.advertised_address.as_deref();
    match set.and_then(AdvertisedAddress::parse) {
        Some(address) => address.with_port(bound.port()),
        None => AdvertisedAddress::of_listener(bound, || {
            nix::unistd::gethostname().ok()?.into_string().ok()
        }),
    }
}
