//! A small blocking client for the examples: one WebSocket, and REST requests one at a time.
//! It never reconnects and never retries, so that each example shows what is really on the wire.
#![allow(
    dead_code,
    unused_imports,
    reason = "every example compiles this module and uses its own part of it"
)]

mod address;
pub(crate) mod rest;
mod websocket;

pub(crate) use address::ServerAddress;
pub(crate) use websocket::{Connection, Received};

use std::process::ExitCode;

/// What an example ends with when it cannot go on; the text is for its user.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// Ends an example: nothing to say, or the failure on standard error and exit code 1.
pub(crate) fn finish(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Checks a command-line argument that must not be empty.
pub(crate) fn not_empty(argument: &str) -> Result<String, String> {
    if argument.is_empty() {
        return Err("must not be empty".to_owned());
    }
    Ok(argument.to_owned())
}
