//! `threadcast healthcheck`: checks that a server is alive, for the health check of a container.

use std::thread;
use std::time::Duration;

use clap::Args;
use crossbeam_channel::bounded;
use threadcast::client::{Client, Error};

use super::error::CliError;
use super::server_args::{Authorities, HostAndPort, at_most_one};
use super::value::{self, Seconds};

const EXAMPLES: &str = "Examples:
  threadcast healthcheck                              the server with the same variables
  threadcast healthcheck --url http://10.0.0.7:8080 --timeout 5

It needs no key. It takes one address: of several servers, one that is alive would hide one that is not.

Exit codes: 0 alive, 1 not alive or no answer in time, 2 invalid command line.";

/// Which server, and the time limit.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Healthcheck {
    /// URL of the server, such as http://example.org:8080 [default: --host and --port]
    #[arg(long, env = "PUBSUB_URL", value_name = "URL", value_delimiter = ',')]
    #[arg(help_heading = "Server")]
    url: Vec<String>,

    #[command(flatten)]
    authorities: Authorities,

    #[command(flatten)]
    host_and_port: HostAndPort,

    /// Time limit until the answer, including name lookup
    #[arg(long, value_name = "SECONDS", help_heading = "Server")]
    #[arg(default_value_t = Seconds(Duration::from_secs(2)))]
    #[arg(value_parser = value::seconds(value::WAIT))]
    timeout: Seconds,
}

/// Succeeds if the server answers 200. After the timeout the process exits, even if the thread is still in a name lookup.
pub(super) fn run(check: &Healthcheck) -> Result<(), CliError> {
    let timeout = check.timeout.0;
    at_most_one(&check.url, "--url (PUBSUB_URL)", "healthcheck")?;
    let client = Client::builder(&check.host_and_port.unless(&check.url)?);
    let client = check
        .authorities
        .given_to(client)
        .connect_timeout(timeout)
        .request_timeout(timeout);
    let (sender, answer) = bounded(1);
    let check = move || drop(sender.send(client.check_alive()));
    thread::Builder::new()
        .name("healthcheck".to_owned())
        .spawn(check)
        .map_err(CliError::failed)?;
    match answer.recv_timeout(timeout) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error @ Error::Invalid { .. })) => Err(error.into()),
        Ok(Err(Error::Timeout { .. })) | Err(_) => Err(CliError::failed(format!(
            "unhealthy: no answer within {timeout:?}"
        ))),
        Ok(Err(error)) => Err(CliError::failed(format!("unhealthy: {error}"))),
    }
}
