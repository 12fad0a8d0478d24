// SPDX-License-Identifier: MIT OR Apache-2.0
//! Publishes to a topic and prints the sequence number of each published message.
//!
//! ```text
//! publisher orders '{"order_id":"ORD-123","amount":99.5}'      one message
//! generate | publisher orders                                  one JSON text per line of standard input
//! ```
//!
//! Does not create the topic. Exit codes: 2 for invalid arguments, 1 for any other error.

use std::error::Error;
use std::io::{BufRead, Write};
use std::process::ExitCode;

use clap::Parser;
use serde_json::value::RawValue;
use threadcast::client::Client;

/// Publishes to a topic of a threadcast server.
#[derive(Debug, Parser)]
#[command(name = "publisher")]
struct Arguments {
    /// Topic; it must exist
    topic: String,
    /// Payload as JSON; without it, each line of standard input is one message
    #[arg(value_parser = parse_payload, allow_negative_numbers = true)]
    payload: Option<Box<RawValue>>,
    /// URL of the server
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
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

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(&arguments.url)?;
    match &arguments.payload {
        Some(payload) => publish(&client, &arguments.topic, payload),
        None => publish_lines(&client, &arguments.topic),
    }
}

fn publish_lines(client: &Client, topic: &str) -> Result<(), Box<dyn Error>> {
    for (index, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let payload =
            parse_payload(&line).map_err(|error| format!("line {}: {error}", index + 1))?;
        publish(client, topic, &payload)?;
    }
    Ok(())
}

/// Waits for the receipt, so that the topic has the order of the lines.
fn publish(client: &Client, topic: &str, payload: &RawValue) -> Result<(), Box<dyn Error>> {
    let receipt = client.publish(topic, payload)?;
    writeln!(std::io::stdout(), "{}", receipt.seq)?;
    Ok(())
}

fn parse_payload(text: &str) -> Result<Box<RawValue>, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("not JSON ({error}); text needs quotes of its own: '\"hello\"'"))
}
