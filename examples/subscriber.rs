// SPDX-License-Identifier: MIT OR Apache-2.0
//! Subscribes to a topic. Prints every event to standard output, one JSON text per line, and every gap and notice to standard
//! error. Reconnects when the connection is lost.
//!
//! ```text
//! subscriber orders --last 10                         the newest 10 events, then new events
//! subscriber orders --after 41 --epoch 9f2c61d0       the events after event 41
//! ```
//!
//! Exit codes: 0 when the topic is deleted, another subscriber takes over, `--count` events are printed, or standard output is
//! closed; 2 for invalid arguments; 1 for any other error.

use std::error::Error as StdError;
use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Parser;
use threadcast::client::{Client, Delivery, Error, Event, Start};

/// Prints the events of a topic of a threadcast server.
#[derive(Debug, Parser)]
#[command(name = "subscriber")]
struct Arguments {
    /// Topic; it must exist
    topic: String,
    /// Replay the newest N events first
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "after")]
    last: u64,
    /// Resume after this sequence number
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// The epoch that --after belongs to
    #[arg(long, requires = "after")]
    epoch: Option<String>,
    /// Name of this subscriber, unique in its topic [default: random]
    #[arg(long)]
    client_id: Option<String>,
    /// Exit after N events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// URL of the server
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
}

impl Arguments {
    fn start(&self) -> Start {
        match self.after {
            None => Start::Last(self.last),
            Some(seq) => Start::After {
                seq,
                epoch: self.epoch.as_deref().map(Into::into),
            },
        }
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn StdError>> {
    let client = Client::connect(&arguments.url)?;
    let mut subscriber = client
        .subscriber()
        .topic(&arguments.topic, arguments.start());
    if let Some(id) = &arguments.client_id {
        subscriber = subscriber.client_id(id);
    }
    let mut subscription = subscriber.open()?;
    if let Some(position) = subscription.position(&arguments.topic) {
        eprintln!(
            "subscribed after seq {}, epoch {}",
            position.seq, position.epoch
        );
    }
    let mut left = arguments.count;
    for delivery in &mut subscription {
        match delivery {
            Ok(Delivery::Event(event)) => {
                left = left.map(|events| events - 1);
                if print(&event)?.is_break() || left == Some(0) {
                    break;
                }
            }
            Ok(Delivery::Gap(gap)) => eprintln!("gap: {gap}"),
            Ok(other) => eprintln!("{other:?}"),
            Err(Error::Ended { reason, .. }) => eprintln!("notice: {reason}"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Prints one event on one line. Line breaks in JSON text can only be between tokens, so a space may replace them.
fn print(event: &Event) -> std::io::Result<ControlFlow<()>> {
    let line = event.json().replace(['\n', '\r'], " ");
    match writeln!(std::io::stdout(), "{line}") {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(error),
    }
}
