//! How a command reaches a server: where it is, and with which key.

use std::env;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use clap::Args;
use threadcast::client::{Client, Error};
use threadcast::config::Config;

use super::failure::Failure;
use super::value::{self, Seconds, Secret};

/// The key that a server on this machine would be started with serves its clients as well.
const SERVER_KEY: &str = "PUBSUB_API_KEY";

/// Where the server is.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub(super) struct Place {
    /// Where the server is, such as ws://example.org:8080/ws [default: --host and --port]
    #[arg(long, env = "PUBSUB_URL", value_name = "URL", global = true)]
    url: Option<String>,

    /// Host of the server, if there is no --url
    #[arg(long, env = "PUBSUB_HOST", value_name = "HOST", global = true)]
    #[arg(default_value_t = Config::default().host, value_parser = value::host())]
    host: String,

    /// Port of the server, if there is no --url
    #[arg(long, env = "PUBSUB_PORT", value_name = "PORT", global = true)]
    #[arg(default_value_t = Config::default().port, value_parser = value::port())]
    port: u16,
}

/// Where the server is, and who asks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub(super) struct Reach {
    #[command(flatten)]
    place: Place,

    /// Key to present; everyone on this machine sees a flag (ps), so rather set the variable
    /// [default: that of PUBSUB_API_KEY]
    #[arg(long, env = "PUBSUB_KEY", value_name = "KEY", global = true)]
    #[arg(value_parser = value::secret())]
    key: Option<Secret>,

    /// How long the server may take to answer
    #[arg(long, value_name = "SECONDS", global = true)]
    #[arg(default_value_t = Seconds(Duration::from_secs(30)))]
    #[arg(value_parser = value::seconds(value::WAIT))]
    timeout: Seconds,
}

impl Reach {
    /// A client, once the server has answered.
    pub(super) fn connect(&self) -> Result<Client, Failure> {
        let builder = Client::builder(&self.place.url()?)
            .connect_timeout(self.timeout.0)
            .request_timeout(self.timeout.0);
        let client = match presented(self.key.as_ref()) {
            Some(key) => builder.key(&key).connect(),
            None => builder.connect(),
        };
        client.map_err(failure)
    }

    /// As it is shown to people.
    pub(super) fn url(&self) -> Result<String, Failure> {
        self.place.url()
    }
}

impl Place {
    /// The one given, or that of host and port.
    pub(super) fn url(&self) -> Result<String, Failure> {
        if let Some(url) = &self.url {
            return Ok(url.clone());
        }
        if self.port == 0 {
            return Err(Failure::usage(
                "--port (PUBSUB_PORT): '0' is not allowed: the port the server listens on",
            ));
        }
        let host = reachable(&self.host);
        Ok(match host.contains(':') {
            true => format!("ws://[{host}]:{}/ws", self.port),
            false => format!("ws://{host}:{}/ws", self.port),
        })
    }
}

/// The key to present: the one given, or that of a server on this machine.
pub(super) fn presented(given: Option<&Secret>) -> Option<String> {
    let own = given.map(|key| key.0.clone());
    own.or_else(|| env::var(SERVER_KEY).ok().filter(|key| !key.is_empty()))
}

/// A server that listens on every address is asked on loopback.
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

/// What cannot be right is the command line's fault, all else is not. The client's names of its arguments are those of its
/// flags.
pub(super) fn failure(error: Error) -> Failure {
    match error {
        Error::Invalid { reason } => Failure::usage(match reason.split_once(": ") {
            Some(("url", why)) => {
                let why = why.replace("with key()", "with --key or PUBSUB_KEY");
                format!("--url (PUBSUB_URL): {why}")
            }
            Some(("key", why)) => format!("--key (PUBSUB_KEY, PUBSUB_API_KEY): {why}"),
            _ => reason,
        }),
        other => Failure::failed(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_every_address_is_asked_on_loopback() {
        assert_eq!(reachable("0.0.0.0"), "127.0.0.1");
        assert_eq!(reachable("::"), "::1");
        assert_eq!(reachable("10.0.0.7"), "10.0.0.7");
        assert_eq!(reachable("localhost"), "localhost");
    }
}
