//! What a command says on standard output, to whoever still reads it.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use super::failure::Failure;

/// Prints a line. `false` when nobody reads any more.
pub(super) fn print(line: impl Display) -> Result<bool, Failure> {
    write(format_args!("{line}\n"))
}

/// Prints a text as it is. `false` when nobody reads any more.
pub(super) fn write(text: impl Display) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::failed(format!("standard output: {error}"))),
    }
}
