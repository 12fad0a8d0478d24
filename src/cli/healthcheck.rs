//! Asks the server of this machine whether it lives, as a container's health check does.

use std::thread;
use std::time::Duration;

use clap::Args;
use crossbeam_channel::bounded;
use threadcast::client::{Client, Error};

use super::failure::Failure;
use super::reach::{Place, failure};
use super::value::{self, Seconds};

const EXAMPLES: &str = "Examples:
  threadcast healthcheck                              the server that the same variables would start
  threadcast healthcheck --url http://10.0.0.7:8080 --timeout 5

No key is needed for it.

Exit codes: 0 it lives, 1 it does not, or not within the time, 2 the command line is wrong.";

/// Who is asked, and how long it may take.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Healthcheck {
    #[command(flatten)]
    place: Place,

    /// From the start to the answer, name lookup included
    #[arg(long, value_name = "SECONDS", help_heading = "Server")]
    #[arg(default_value_t = Seconds(Duration::from_secs(2)))]
    #[arg(value_parser = value::seconds(value::WAIT))]
    timeout: Seconds,
}

/// Succeeds when the server answers 200. When time is up the process ends, and the asking thread with it, whatever the
/// system still waits for.
pub(super) fn run(check: &Healthcheck) -> Result<(), Failure> {
    let timeout = check.timeout.0;
    let client = Client::builder(&check.place.url()?)
        .connect_timeout(timeout)
        .request_timeout(timeout);
    let (tell, told) = bounded(1);
    let ask = move || drop(tell.send(client.check_alive()));
    thread::Builder::new()
        .name("ask".to_owned())
        .spawn(ask)
        .map_err(Failure::failed)?;
    match told.recv_timeout(timeout) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error @ Error::Invalid { .. })) => Err(failure(error)),
        Ok(Err(Error::Timeout { .. })) | Err(_) => Err(Failure::failed(format!(
            "unhealthy: no answer within {timeout:?}"
        ))),
        Ok(Err(error)) => Err(Failure::failed(format!("unhealthy: {error}"))),
    }
}
