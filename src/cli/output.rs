//! Writes to standard output, and notices to standard error. A closed pipe is not an error, but reported to the caller.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::error::CliError;
use super::printable;

/// Prints a line. `false` if the pipe is closed.
pub(super) fn print(line: impl Display) -> Result<bool, CliError> {
    write(format_args!("{line}\n"))
}

/// Prints JSON; on a terminal, with control characters escaped. `false` if the pipe is closed.
pub(super) fn print_json(text: &str) -> Result<bool, CliError> {
    match io::stdout().is_terminal() {
        true => print(printable::json(text)),
        false => print(text),
    }
}

/// Whether the pipe is closed, checked without writing.
pub(super) fn is_closed() -> bool {
    let out = io::stdout();
    let mut polled = [PollFd::new(out.as_fd(), PollFlags::empty())];
    let closed = PollFlags::POLLERR | PollFlags::POLLHUP;
    matches!(poll(&mut polled, PollTimeout::ZERO), Ok(1..))
        && polled[0]
            .revents()
            .is_some_and(|events| events.intersects(closed))
}

/// Prints a line to standard error. If that is closed, it is ignored.
pub(super) fn notice(text: &str) {
    let _ = writeln!(io::stderr(), "{}", printable::text(text));
}

/// Prints a text unchanged. `false` if the pipe is closed.
pub(super) fn write(text: impl Display) -> Result<bool, CliError> {
    let mut out = io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::failed(format!("standard output: {error}"))),
    }
}
