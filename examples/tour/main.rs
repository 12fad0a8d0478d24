//! A guided tour: starts a server of its own on a free port and shows, chapter by chapter, what it does, through the
//! client library and nothing else. Checks what it shows; exit code 0 means that all of it held.
//!
//! Nothing here waits for time to pass: every step waits for the thing that it is about.

mod chapters;
mod errors;
mod slow_consumer;
mod visitor;

use std::process::ExitCode;

use threadcast::client::Client;
use threadcast::{Config, Server};

/// What the tour ends with when it cannot go on.
pub(crate) type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match tour() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn tour() -> Result<(), Failure> {
    let server = Server::bind(Config {
        port: 0,
        send_buffer_bytes: 32 << 10,
        ..Config::default()
    })?;
    let url = format!("ws://{}/ws", server.local_addr());
    let client = Client::connect(&url)?;
    println!("A server of our own listens on {url}.");

    chapters::topics(&client)?;
    let team = chapters::fan_out(&client)?;
    chapters::replay(&client)?;
    let team = chapters::resume(&client, team)?;
    slow_consumer::chapter(&url)?;
    errors::chapter(&client)?;
    chapters::counts(&client, team)?;
    chapters::deletion(&client)?;
    chapters::shutdown(server, &url)?;

    println!("\nThe tour is over; everything held.");
    Ok(())
}
