//! A guided tour: starts a server on a free port and shows its features in chapters, through the client library. Checks every
//! step; exit code 0 means that all checks passed.
//!
//! Nothing sleeps: every step waits for its result.

mod chapters;
mod errors;
mod slow_consumer;
mod subscriber;

use std::process::ExitCode;

use threadcast::client::Client;
use threadcast::{Config, Server};

/// Why the tour ended early.
pub(crate) type TourError = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match tour() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn tour() -> Result<(), TourError> {
    let server = Server::bind(Config {
        port: 0,
        send_buffer_bytes: 32 << 10,
        ..Config::default()
    })?;
    let url = format!("ws://{}/ws", server.local_addr());
    let client = Client::connect(&url)?;
    println!("The server listens on {url}.");

    chapters::topics(&client)?;
    let team = chapters::fan_out(&client)?;
    chapters::replay(&client)?;
    let team = chapters::resume(&client, team)?;
    slow_consumer::chapter(&url)?;
    errors::chapter(&client)?;
    chapters::counts(&client, team)?;
    chapters::deletion(&client)?;
    chapters::shutdown(server, &url)?;

    println!("\nEnd of the tour: all checks passed.");
    Ok(())
}
