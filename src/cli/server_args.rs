//! The arguments with which a command connects to a server: address, key, timeout.

use std::env;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use threadcast::client::{Client, ClientBuilder, Error};
use threadcast::config::Config;

use super::error::CliError;
use super::value::{self, Seconds, Secret};

/// The variable of the server's key, which is the default for clients.
const SERVER_KEY: &str = "PUBSUB_API_KEY";

/// The variable of the server's certificate.
const SERVER_CERTIFICATE: &str = "PUBSUB_TLS_CERT";

/// How long a command waits for a connection to one of several servers: then it tries the next one.
const CONNECT_TIMEOUT_EACH: Duration = Duration::from_secs(3);

/// The address of the server if there is no URL.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub(super) struct HostAndPort {
    /// Host of the server, without --url
    #[arg(long, env = "PUBSUB_HOST", value_name = "HOST", global = true)]
    #[arg(default_value_t = Config::default().host, value_parser = value::host())]
    host: String,

    /// Port of the server, without --url
    #[arg(long, env = "PUBSUB_PORT", value_name = "PORT", global = true)]
    #[arg(default_value_t = Config::default().port, value_parser = value::port())]
    port: u16,
}

/// Whose certificates are accepted.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub(super) struct Authorities {
    /// PEM file of the authorities that may sign the certificate of the server [default: those of the system]
    #[arg(long, env = "PUBSUB_CA_FILE", value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
}

impl Authorities {
    pub(super) fn given_to(&self, builder: ClientBuilder) -> ClientBuilder {
        match self.ca.as_ref().filter(|file| !file.as_os_str().is_empty()) {
            Some(file) => builder.ca_file(file),
            None => builder,
        }
    }
}

/// Addresses, key and timeout.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub(super) struct ServerArgs {
    /// URL of the server, such as ws://example.org:8080/ws or, with TLS, wss://example.org/ws; of several servers, separated by commas or given repeatedly, the
    /// first that answers is used [default: --host and --port]
    #[arg(
        long,
        env = "PUBSUB_URL",
        value_name = "URL",
        value_delimiter = ',',
        global = true
    )]
    url: Vec<String>,

    #[command(flatten)]
    host_and_port: HostAndPort,

    #[command(flatten)]
    authorities: Authorities,

    /// Key to present; prefer the variable, since flags are visible to all users (ps)
    /// [default: PUBSUB_API_KEY]
    #[arg(long, env = "PUBSUB_KEY", value_name = "KEY", global = true)]
    #[arg(value_parser = value::secret())]
    key: Option<Secret>,

    /// Time limit for an answer, and for connecting
    #[arg(long, value_name = "SECONDS", global = true)]
    #[arg(default_value_t = Seconds(Duration::from_secs(30)))]
    #[arg(value_parser = value::seconds(value::WAIT))]
    timeout: Seconds,
}

impl ServerArgs {
    /// Connects, and checks that the server answers.
    pub(super) fn connect(&self) -> Result<Client, CliError> {
        self.connect_with(|builder| builder)
    }

    /// Like [`ServerArgs::connect`], with further settings of the client.
    pub(super) fn connect_with(
        &self,
        settings: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Client, CliError> {
        let builder = Client::builder(&self.host_and_port.unless(&self.url)?)
            .connect_timeout(self.connect_timeout())
            .request_timeout(self.timeout.0);
        let builder = settings(self.authorities.given_to(builder));
        let client = match presented(self.key.as_ref()) {
            Some(key) => builder.key(&key).connect(),
            None => builder.connect(),
        };
        client.map_err(CliError::from)
    }

    /// With several servers this is for a round of attempts, one at each.
    fn connect_timeout(&self) -> Duration {
        match u32::try_from(self.url.len()) {
            Ok(servers @ 2..) => self.timeout.0.min(CONNECT_TIMEOUT_EACH * servers),
            _ => self.timeout.0,
        }
    }
}

impl HostAndPort {
    /// The URL of host and port, unless there are others: then those, separated by commas.
    pub(super) fn unless(&self, urls: &[String]) -> Result<String, CliError> {
        if !urls.is_empty() {
            return Ok(urls.join(","));
        }
        if self.port == 0 {
            return Err(CliError::usage(
                "--port (PUBSUB_PORT): '0' is not allowed: the port of the server",
            ));
        }
        let host = reachable(&self.host);
        // The variable of the server: with a certificate it speaks TLS.
        let has_tls = env::var_os(SERVER_CERTIFICATE).is_some_and(|file| !file.is_empty());
        let scheme = if has_tls { "wss" } else { "ws" };
        Ok(match host.contains(':') {
            true => format!("{scheme}://[{host}]:{}/ws", self.port),
            false => format!("{scheme}://{host}:{}/ws", self.port),
        })
    }
}

/// Refuses several URLs, for a command whose result is about one server.
pub(super) fn at_most_one(urls: &[String], origin: &str, command: &str) -> Result<(), CliError> {
    match urls.len() {
        0 | 1 => Ok(()),
        count => Err(CliError::usage(format!(
            "{origin}: {command} takes the address of one server, not {count}"
        ))),
    }
}

/// The given key, or the key of [`SERVER_KEY`].
pub(super) fn presented(given: Option<&Secret>) -> Option<String> {
    let given = given.map(|key| key.0.clone());
    given.or_else(|| env::var(SERVER_KEY).ok().filter(|key| !key.is_empty()))
}

/// The loopback address for an unspecified one, on which the server listens on every address.
fn reachable(host: &str) -> String {
    let unspecified_v4 = host
        .parse()
        .is_ok_and(|address: Ipv4Addr| address.is_unspecified());
    let unspecified_v6 = host
        .parse()
        .is_ok_and(|address: Ipv6Addr| address.is_unspecified());
    match (unspecified_v4, unspecified_v6) {
        (true, _) => Ipv4Addr::LOCALHOST.to_string(),
        (_, true) => Ipv6Addr::LOCALHOST.to_string(),
        _ => host.to_owned(),
    }
}

impl From<Error> for CliError {
    /// An invalid argument is a usage error, which names the flag.
    fn from(error: Error) -> CliError {
        match error {
            Error::Invalid { reason } => CliError::usage(match reason.split_once(": ") {
                Some(("url", reason)) => {
                    let reason = reason.replace("with key()", "with --key or PUBSUB_KEY");
                    format!("--url (PUBSUB_URL): {reason}")
                }
                Some(("key", reason)) => format!("--key (PUBSUB_KEY, PUBSUB_API_KEY): {reason}"),
                Some(("ca_file", reason)) => format!("--ca (PUBSUB_CA_FILE): {reason}"),
                _ => reason,
            }),
            other => CliError::failed(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unspecified_address_becomes_loopback() {
        assert_eq!(reachable("0.0.0.0"), "127.0.0.1");
        assert_eq!(reachable("::"), "::1");
        assert_eq!(reachable("10.0.0.7"), "10.0.0.7");
        assert_eq!(reachable("localhost"), "localhost");
    }
}
