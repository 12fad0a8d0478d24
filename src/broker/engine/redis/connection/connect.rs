//! Opens connections to a Redis, at its address or at the one that its Sentinels name, plain or with TLS. No step of it waits
//! without a deadline, the TLS handshake included.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ::redis::{
    Client, ClientTlsConfig, Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, RedisResult, TlsCertificates, cmd,
};

use super::failure;
use super::health::Info;
use super::lane::COMMAND_TIMEOUT;
use super::sentinels::{SENTINEL_TIMEOUT, Sentinels};
use crate::broker::engine::redis::mirroring::runs::Runs;
use crate::config::{Host, Login, RedisUrl};

pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// For each step of opening a connection in the place of another one: a publish may wait for it.
const REOPEN_TIMEOUT: Duration = Duration::from_millis(400);

/// Knows how to reach a Redis.
pub(crate) struct Dialer {
    url: RedisUrl,
    /// `None` without TLS.
    tls: Option<TlsFiles>,
    sentinels: Option<Sentinels>,
}

/// Files in PEM, read whenever a node connects.
#[derive(Clone)]
pub(crate) struct TlsFiles {
    /// The authorities that may sign the certificate of a Redis; without one, those of the system.
    pub(crate) ca: Option<PathBuf>,
    /// The certificate of this node and its key, if it has one.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

/// A Redis at one address: all connections to it lead to the same one.
#[derive(Clone)]
pub(crate) struct Server {
    host: Host,
    client: Client,
    has_tls: bool,
    /// Whether Sentinels named it.
    is_named: bool,
}

impl Dialer {
    pub(crate) fn new(url: &RedisUrl, tls_files: &TlsFiles) -> Dialer {
        let sentinels = |master: &String| Sentinels::new(master, &url.hosts);
        Dialer {
            tls: url.has_tls.then(|| tls_files.clone()),
            sentinels: url.master.as_ref().map(sentinels),
            url: url.clone(),
        }
    }

    /// Finds out where the Redis is. The error is one line for people.
    pub(crate) fn find(&mut self) -> Result<Server, String> {
        let host = match &self.sentinels {
            None => self.url.hosts[0].clone(),
            Some(sentinels) => sentinels.master(|host| self.sentinel(host))?,
        };
        Ok(Server {
            client: self.client(&host, &self.url.login, self.url.database)?,
            host,
            has_tls: self.tls.is_some(),
            is_named: self.sentinels.is_some(),
        })
    }

    /// Whether the Sentinels name another server by now: then the error says so in one line for people. Asks one of them, and
    /// only if its answer is another one also the rest.
    pub(crate) fn check(&mut self, server: &Server) -> Result<(), String> {
        let Some(mut sentinels) = self.sentinels.take() else {
            return Ok(());
        };
        let has_changed = sentinels.may_have_changed(&server.host, |host| self.sentinel(host));
        let named = has_changed.then(|| sentinels.master(|host| self.sentinel(host)));
        self.sentinels = Some(sentinels);
        match named {
            Some(Ok(named)) if named != server.host => {
                Err(format!("the Sentinels name another master: {named}"))
            }
            _ => Ok(()),
        }
    }

    fn sentinel(&self, host: &Host) -> Result<Connection, String> {
        let client = self.client(host, &self.url.sentinel_login, 0)?;
        let opened = open(&client, SENTINEL_TIMEOUT, SENTINEL_TIMEOUT);
        opened.map_err(|error| explain(&error, self.tls.is_some()))
    }

    fn client(&self, host: &Host, login: &Login, database: i64) -> Result<Client, String> {
        let (name, port) = (host.name.clone(), host.port);
        let addr = match &self.tls {
            None => ConnectionAddr::Tcp(name, port),
            Some(_) => ConnectionAddr::TcpTls {
                host: name,
                port,
                insecure: false,
                tls_params: None,
            },
        };
        let fail = |error: RedisError| error.to_string();
        let info = addr.into_connection_info().map_err(fail)?;
        let info = info.set_redis_settings(settings(login, database));
        match &self.tls {
            None => Client::open(info).map_err(fail),
            Some(tls) => tls.client(info),
        }
    }
}

impl TlsFiles {
    fn client(&self, info: ConnectionInfo) -> Result<Client, String> {
        // A program that this server is embedded in may have chosen another provider before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let read = |path: &PathBuf| {
            fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
        };
        let client_tls = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Some(ClientTlsConfig {
                client_cert: read(certificate)?,
                client_key: read(key)?,
            }),
            _ => None,
        };
        let certificates = TlsCertificates {
            client_tls,
            root_cert: self.ca.as_ref().map(read).transpose()?,
        };
        Client::build_with_tls(info, certificates).map_err(|error| error.to_string())
    }
}

fn settings(login: &Login, database: i64) -> RedisConnectionInfo {
    let settings = RedisConnectionInfo::default().set_db(database);
    let settings = match &login.user {
        Some(user) => settings.set_username(user),
        None => settings,
    };
    match &login.password {
        Some(password) => settings.set_password(password),
        None => settings,
    }
}

impl Server {
    /// Opens a connection that works. The error is one line for people.
    pub(crate) fn open(&self) -> Result<Connection, String> {
        let opened = open(&self.client, CONNECT_TIMEOUT, COMMAND_TIMEOUT);
        let works = opened.and_then(|mut connection| {
            cmd("PING").query::<String>(&mut connection)?;
            Ok(connection)
        });
        works.map_err(|error| explain(&error, self.has_tls))
    }

    /// Opens a connection in the place of one that was closed, within less time. Fails if the Redis there is another one by now,
    /// or has restarted: then all connections must be made again. The error is one line for people.
    pub(crate) fn reopen(&self, runs: &Runs) -> Result<Connection, String> {
        let explain = |error: RedisError| explain(&error, self.has_tls);
        let mut connection = open(&self.client, REOPEN_TIMEOUT, REOPEN_TIMEOUT).map_err(explain)?;
        let info: String = cmd("INFO")
            .arg("replication")
            .query(&mut connection)
            .map_err(explain)?;
        let info = Info(&info);
        if !info.is_primary() || !runs.is_current(info.replication_id()) {
            return Err("it is another one, or has restarted".to_owned());
        }
        set_timeouts(&connection, COMMAND_TIMEOUT).map_err(explain)?;
        Ok(connection)
    }

    /// The reason why it cannot be used, with its address if that is news.
    pub(crate) fn explain(&self, reason: String) -> String {
        match self.is_named {
            true => format!("{reason} (the Sentinels name {})", self.host),
            false => reason,
        }
    }
}

/// Opens a connection that waits so long to connect, and then for each answer.
fn open(client: &Client, connect: Duration, answer: Duration) -> RedisResult<Connection> {
    let connection = client.get_connection_with_timeout(connect)?;
    set_timeouts(&connection, answer)?;
    Ok(connection)
}

fn set_timeouts(connection: &Connection, answer: Duration) -> RedisResult<()> {
    connection.set_read_timeout(Some(answer))?;
    connection.set_write_timeout(Some(answer))
}

/// An error of a new connection as one line for people: it says if one side speaks TLS and the other does not.
fn explain(error: &RedisError, has_tls: bool) -> String {
    let text = failure::of_error(error);
    let was_dropped = error.is_connection_dropped() && !error.is_connection_refusal();
    let is_not_redis = was_dropped || text.contains("parse");
    if error.is_timeout() {
        // A Redis without TLS waits for the end of a line.
        match has_tls {
            true => "it does not answer in time, or does not speak TLS there".to_owned(),
            false => "it does not answer in time".to_owned(),
        }
    } else if has_tls && text.contains("InvalidContentType") {
        "it does not speak TLS there, but the URL begins with rediss".to_owned()
    } else if has_tls && text.contains("peer certificate") {
        format!("its certificate is not accepted: {text}")
    } else if has_tls && text.contains("CertificateRequired") {
        format!("it wants a certificate of this node (redis_cert_file): {text}")
    } else if !has_tls && is_not_redis {
        format!("{text}; if it speaks TLS there, the URL must begin with rediss")
    } else {
        text
    }
}
