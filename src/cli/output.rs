//! What a command says on standard output, to whoever still reads it.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::failure::Failure;
use super::printable;

/// Prints a line. `false` when nobody reads any more.
pub(super) fn print(line: impl Display) -> Result<bool, Failure> {
    write(format_args!("{line}\n"))
}

/// Prints JSON: as it is for a program, and for a terminal so that no character of it is obeyed. `false` when nobody
/// reads any more.
pub(super) fn print_json(text: &str) -> Result<bool, Failure> {
    match io::stdout().is_terminal() {
        true => print(printable::json(text)),
        false => print(text),
    }
}

/// Whether nobody can read any more what would be printed; found out without printing.
pub(super) fn is_gone() -> bool {
    let out = io::stdout();
    let mut looked = [PollFd::new(out.as_fd(), PollFlags::empty())];
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    matches!(poll(&mut looked, PollTimeout::ZERO), Ok(1..))
        && looked[0]
            .revents()
            .is_some_and(|seen| seen.intersects(gone))
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
