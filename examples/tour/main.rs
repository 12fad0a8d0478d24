//! A guided tour: starts a server of its own on a free port and shows, chapter by chapter, what it does,
//! printing what is sent (`→`) and received (`←`). Checks what it shows; exit code 0 means that all of it held.
//!
//! Nothing here waits for time to pass: every step waits for the frame that it is about.

mod chapters;
mod errors;
#[path = "../shared/mod.rs"]
mod shared;
mod slow_consumer;
mod visitor;

use std::process::ExitCode;

use threadcast::{Config, Server};

use shared::{Failure, ServerAddress};

fn main() -> ExitCode {
    shared::finish(tour())
}

fn tour() -> Result<(), Failure> {
    let server = Server::bind(Config {
        port: 0,
        send_buffer_bytes: 32 << 10,
        ..Config::default()
    })?;
    let address = ServerAddress::from(server.local_addr());
    println!("A server of our own listens on {address}.");

    chapters::topics(&address)?;
    let team = chapters::fan_out(&address)?;
    chapters::replay(&address)?;
    let team = chapters::resume(&address, team)?;
    slow_consumer::chapter(&address)?;
    errors::chapter(&address)?;
    chapters::counts(&address, team)?;
    let last_reader = chapters::deletion(&address)?;
    chapters::shutdown(server, last_reader)?;

    println!("\nThe tour is over; everything held.");
    Ok(())
}
