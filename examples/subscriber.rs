// SPDX-License-Identifier: MIT OR Apache-2.0
//! Subscribes to a topic: every event on standard output, one JSON text per line, as it comes;
//! every gap and notice on standard error. Comes back by itself when the connection is lost.
//!
//! ```text
//! subscriber orders --last 10                         the newest ten first, then what follows
//! subscriber orders --after 41 --epoch 9f2c61d0       what came after event 41
//! ```
//!
//! Ends when the topic is deleted, another subscriber takes over, `--count` events have come, or standard
//! output is closed (exit code 0); exit code 2 for wrong arguments, 1 for any other end.

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
    /// The topic; it must exist
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
    /// Name of this subscriber, unique in its topic; without it, a random one
    #[arg(long)]
    client_id: Option<String>,
    /// End after N events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Where the server is
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
        Err(failure) => {
            eprintln!("error: {failure}");
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
            Err(Error::Ended { end, .. }) => eprintln!("notice: {end}"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Prints one event on one line: a line break in JSON text can only stand between its tokens, so a blank may replace it.
fn print(event: &Event) -> std::io::Result<ControlFlow<()>> {
    let line = event.json().replace(['\n', '\r'], " ");
    match writeln!(std::io::stdout(), "{line}") {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(error),
    }
}
