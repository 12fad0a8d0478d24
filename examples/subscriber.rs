//! Subscribes to a topic: every event on standard output, one JSON text per line, as it comes;
//! every gap and notice on standard error.
//!
//! ```text
//! subscriber orders --last 10                         the newest ten first, then what follows
//! subscriber orders --after 41 --epoch 9f2c61d0       what came after event 41
//! ```
//!
//! Ends when the topic is deleted, another subscriber takes over, `--count` events have come, or standard
//! output is closed (exit code 0); exit code 2 for wrong arguments, 1 for any other end.

mod shared;

use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Value, json};
use uuid::Uuid;

use shared::{Connection, Failure, Received, ServerAddress};

/// Prints the events of a topic of a threadcast server.
#[derive(Debug, Parser)]
#[command(name = "subscriber")]
struct Arguments {
    /// The topic; it must exist
    #[arg(value_parser = shared::not_empty)]
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
    #[arg(long, value_parser = shared::not_empty)]
    client_id: Option<String>,
    /// End after N events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Where the server is
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: ServerAddress,
}

fn main() -> ExitCode {
    shared::finish(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut connection = Connection::open(&arguments.url, None)?;
    connection.send(&subscribe_request(arguments).to_string())?;
    let mut left = arguments.count;
    while left != Some(0) {
        let text = match connection.receive()? {
            Received::Text(text) => text,
            Received::Closed { code, reason } => {
                return Err(format!("the server closed the connection: {code} {reason}").into());
            }
        };
        let frame: Value = serde_json::from_str(&text)?;
        if frame["type"] != "event" {
            if told(&frame, &text)?.is_break() {
                return connection.close();
            }
            continue;
        }
        if print_event(&text)?.is_break() {
            break;
        }
        left = left.map(|events| events - 1);
    }
    connection.close()
}

fn subscribe_request(arguments: &Arguments) -> Value {
    let client_id = match &arguments.client_id {
        Some(name) => name.clone(),
        None => format!("subscriber-{}", Uuid::new_v4()),
    };
    let mut request = json!({
        "type": "subscribe",
        "topic": arguments.topic,
        "client_id": client_id,
        "request_id": "subscribe",
    });
    if arguments.last > 0 {
        request["last_n"] = json!(arguments.last);
    }
    if let Some(after) = arguments.after {
        request["after_seq"] = json!(after);
    }
    if let Some(epoch) = &arguments.epoch {
        request["epoch"] = json!(epoch);
    }
    request
}

/// Prints one event on one line: a line break in JSON text can only stand between its tokens, so a blank may replace it.
fn print_event(text: &str) -> Result<ControlFlow<()>, Failure> {
    let line = text.replace(['\n', '\r'], " ");
    match writeln!(std::io::stdout(), "{line}") {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(error.into()),
    }
}

/// Reports what is not an event; breaks when the subscription is over.
fn told(frame: &Value, text: &str) -> Result<ControlFlow<()>, Failure> {
    if frame["gap"].is_object() {
        eprintln!("gap: {}", describe_gap(&frame["gap"]));
        return Ok(ControlFlow::Continue(()));
    }
    match frame["type"].as_str() {
        Some("ack") => eprintln!(
            "subscribed at seq {}, epoch {}",
            frame["seq"],
            frame["epoch"].as_str().unwrap_or("unknown")
        ),
        Some("error") => return Err(describe_error(&frame["error"]).into()),
        Some("info") => {
            let notice = frame["msg"].as_str().unwrap_or(text);
            eprintln!("notice: {notice}");
            if matches!(notice, "topic_deleted" | "subscription_replaced") {
                return Ok(ControlFlow::Break(()));
            }
        }
        _ => eprintln!("{text}"),
    }
    Ok(ControlFlow::Continue(()))
}

fn describe_gap(gap: &Value) -> String {
    let reason = gap["reason"].as_str().unwrap_or("unknown");
    match (gap["from_seq"].as_u64(), gap["to_seq"].as_u64()) {
        (Some(from), Some(to)) => format!("events {from} to {to} were missed ({reason})"),
        _ => reason.to_owned(),
    }
}

fn describe_error(error: &Value) -> String {
    let code = error["code"].as_str().unwrap_or("unknown");
    format!("{code}: {}", error["message"].as_str().unwrap_or_default())
}
