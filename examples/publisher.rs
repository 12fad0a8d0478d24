//! Publishes to a topic and prints the sequence number of each message the server took.
//!
//! ```text
//! publisher orders '{"order_id":"ORD-123","amount":99.5}'      one message
//! generate | publisher orders                                  one JSON text per line of standard input
//! ```
//!
//! Creates nothing: a topic that does not exist is an error. Exit code 2 for wrong arguments, 1 for any other failure.

mod shared;

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use shared::{Connection, Failure, Received, ServerAddress};

/// Publishes to a topic of a threadcast server.
#[derive(Debug, Parser)]
#[command(name = "publisher")]
struct Arguments {
    /// The topic; it must exist
    #[arg(value_parser = shared::not_empty)]
    topic: String,
    /// What to publish, as JSON; without it, each line of standard input is one message
    #[arg(value_parser = parse_payload, allow_negative_numbers = true)]
    payload: Option<Box<RawValue>>,
    /// Where the server is
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: ServerAddress,
}

#[derive(Serialize)]
struct Publish<'a> {
    r#type: &'static str,
    topic: &'a str,
    message: Message<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Message<'a> {
    id: &'a str,
    payload: &'a RawValue,
}

#[derive(Deserialize)]
struct Reply {
    r#type: String,
    request_id: Option<String>,
    seq: Option<u64>,
    error: Option<ReplyError>,
    msg: Option<String>,
}

#[derive(Deserialize)]
struct ReplyError {
    code: String,
    message: String,
}

fn main() -> ExitCode {
    shared::finish(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut connection = Connection::open(&arguments.url, Some(Duration::from_secs(60)))?;
    match &arguments.payload {
        Some(payload) => publish(&mut connection, &arguments.topic, payload)?,
        None => publish_lines(&mut connection, &arguments.topic)?,
    }
    connection.close()
}

fn publish_lines(connection: &mut Connection, topic: &str) -> Result<(), Failure> {
    for (index, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let payload = parse_payload(&line).map_err(|why| format!("line {}: {why}", index + 1))?;
        publish(connection, topic, &payload)?;
    }
    Ok(())
}

/// Sends one message and waits for its ack, so that the order of the lines is the order in the topic.
fn publish(connection: &mut Connection, topic: &str, payload: &RawValue) -> Result<(), Failure> {
    let id = Uuid::new_v4().to_string();
    connection.send(&serde_json::to_string(&Publish {
        r#type: "publish",
        topic,
        message: Message { id: &id, payload },
        request_id: &id,
    })?)?;
    let seq = wait_for_ack(connection, &id)?;
    writeln!(std::io::stdout(), "{seq}")?;
    Ok(())
}

fn wait_for_ack(connection: &mut Connection, request_id: &str) -> Result<u64, Failure> {
    loop {
        let text = match connection.receive()? {
            Received::Text(text) => text,
            Received::Closed { code, reason } => {
                return Err(format!("the server closed the connection: {code} {reason}").into());
            }
        };
        let reply: Reply = serde_json::from_str(&text)?;
        if reply.request_id.as_deref() != Some(request_id) {
            eprintln!("{}", reply.msg.unwrap_or(text));
            continue;
        }
        return match (reply.r#type.as_str(), reply.seq, reply.error) {
            ("ack", Some(seq), _) => Ok(seq),
            (_, _, Some(error)) => Err(format!("{}: {}", error.code, error.message).into()),
            _ => Err(format!("not an answer to a publish: {text}").into()),
        };
    }
}

fn parse_payload(text: &str) -> Result<Box<RawValue>, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("not JSON ({error}); a text needs its own quotes: '\"hello\"'"))
}
