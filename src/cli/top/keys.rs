//! Reads key presses.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Sort;

/// The action of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Sort(Sort),
}

/// Standard input, if it is a terminal.
#[derive(Debug)]
pub(super) struct Keys(Option<File>);

impl Keys {
    pub(super) fn of_standard_input() -> Keys {
        let stdin = io::stdin();
        let file = stdin
            .is_terminal()
            .then(|| stdin.as_fd().try_clone_to_owned());
        Keys(file.and_then(Result::ok).map(File::from))
    }

    pub(super) fn exist(&self) -> bool {
        self.0.is_some()
    }

    /// Waits for a key with an action. Returns at once if there is no terminal.
    pub(super) fn next(&mut self, timeout: Duration) -> io::Result<Option<Key>> {
        let Some(file) = &mut self.0 else {
            return Ok(None);
        };
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
        let mut ready = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut pressed = [0; 64];
        match file.read(&mut pressed) {
            // The terminal was closed.
            Ok(0) => Ok(Some(Key::Quit)),
            Ok(count) => Ok(pressed[..count].iter().find_map(|key| action(*key))),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn action(key: u8) -> Option<Key> {
    Some(match key {
        // 3 is Ctrl-C, if the terminal does not turn it into a signal.
        b'q' | b'Q' | 3 => Key::Quit,
        b'n' => Key::Sort(Sort::Name),
        b's' => Key::Sort(Sort::Subscribers),
        b'r' => Key::Sort(Sort::Rate),
        b'm' => Key::Sort(Sort::Messages),
        b'h' => Key::Sort(Sort::History),
        b'd' => Key::Sort(Sort::Dropped),
        _ => return None,
    })
}
