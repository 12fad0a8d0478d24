//! Reads key presses.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Sort;

const ESCAPE: u8 = 0x1b;

/// The action of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Sort(Sort),
    /// Select the previous topic.
    Up,
    /// Select the next topic.
    Down,
    /// Show the subscribers of the selected topic, or show them no longer.
    Toggle,
    /// Show the subscribers no longer.
    Close,
}

/// Standard input, if it is a terminal.
#[derive(Debug)]
pub(super) struct Keys {
    terminal: Option<File>,
    /// Keys that were read and are not returned yet.
    pressed: VecDeque<Key>,
}

impl Keys {
    pub(super) fn of_standard_input() -> Keys {
        let stdin = io::stdin();
        let file = stdin
            .is_terminal()
            .then(|| stdin.as_fd().try_clone_to_owned());
        Keys {
            terminal: file.and_then(Result::ok).map(File::from),
            pressed: VecDeque::new(),
        }
    }

    pub(super) fn exist(&self) -> bool {
        self.terminal.is_some()
    }

    /// Waits for a key with an action. Returns at once if there is no terminal.
    pub(super) fn next(&mut self, timeout: Duration) -> io::Result<Option<Key>> {
        if let Some(key) = self.pressed.pop_front() {
            return Ok(Some(key));
        }
        let Some(file) = &mut self.terminal else {
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
            Ok(count) => {
                self.pressed.extend(actions(&pressed[..count]));
                Ok(self.pressed.pop_front())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The actions of what a terminal sent at once. An arrow key sends an escape, `[` or `O`, and a letter.
fn actions(mut sent: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    while let Some((first, rest)) = sent.split_first() {
        let (key, rest) = match (first, rest) {
            (&ESCAPE, [b'[' | b'O', letter, rest @ ..]) => (arrow(*letter), rest),
            (&ESCAPE, []) => (Some(Key::Close), rest),
            _ => (action(*first), rest),
        };
        keys.extend(key);
        sent = rest;
    }
    keys
}

fn arrow(letter: u8) -> Option<Key> {
    match letter {
        b'A' => Some(Key::Up),
        b'B' => Some(Key::Down),
        _ => None,
    }
}

fn action(key: u8) -> Option<Key> {
    Some(match key {
        // 3 is Ctrl-C, if the terminal does not turn it into a signal.
        b'q' | b'Q' | 3 => Key::Quit,
        b'k' => Key::Up,
        b'j' => Key::Down,
        b'\r' | b'\n' => Key::Toggle,
        b'n' => Key::Sort(Sort::Name),
        b's' => Key::Sort(Sort::Subscribers),
        b'r' => Key::Sort(Sort::Rate),
        b'm' => Key::Sort(Sort::Messages),
        b'h' => Key::Sort(Sort::History),
        b'd' => Key::Sort(Sort::Dropped),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_arrive_together_are_all_read() {
        let sent = b"jk\x1b[A\x1b[B\x1bOA\rx\x1b[Cn\x1b";
        let expected = [
            Key::Down,
            Key::Up,
            Key::Up,
            Key::Down,
            Key::Up,
            Key::Toggle,
            Key::Sort(Sort::Name),
            Key::Close,
        ];
        assert_eq!(actions(sent), expected);
        assert_eq!(actions(b""), []);
    }
}
