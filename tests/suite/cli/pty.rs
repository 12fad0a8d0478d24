//! A pseudo-terminal for a program: what it draws, and the state it leaves.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};

use super::program::Program;
use crate::harness::eventually;

/// A program on a terminal of its own.
pub(super) struct OnTerminal {
    pub(super) program: Program,
    keyboard: File,
    /// The side of the program, kept open to be inspected after the program has ended.
    terminal: OwnedFd,
    drawn: Arc<Mutex<String>>,
    before: Termios,
}

impl OnTerminal {
    pub(super) fn start(command: &mut Command, (rows, columns): (u16, u16)) -> OnTerminal {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(&size, None).expect("a terminal");
        let before = tcgetattr(&pty.slave).expect("its settings");
        let side = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        command.stdin(side()).stdout(side()).env("TERM", "xterm");
        let program = Program::start(command);
        let mut screen = File::from(pty.master.try_clone().expect("a descriptor"));
        let drawn = Arc::new(Mutex::new(String::new()));
        let its = Arc::clone(&drawn);
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut chunk) {
                let text = String::from_utf8_lossy(&chunk[..count]);
                its.lock().expect("not poisoned").push_str(&text);
            }
        });
        OnTerminal {
            program,
            keyboard: File::from(pty.master),
            terminal: pty.slave,
            drawn,
            before,
        }
    }

    pub(super) fn press(&mut self, keys: &str) {
        self.keyboard
            .write_all(keys.as_bytes())
            .expect("a keyboard");
    }

    /// Everything drawn so far.
    pub(super) fn drawn(&self) -> String {
        self.drawn.lock().expect("not poisoned").clone()
    }

    /// The last complete screen.
    pub(super) fn screen(&self) -> String {
        let drawn = self.drawn();
        let mut screens = drawn.rsplit("\x1b[H");
        let newest = screens.find(|screen| screen.contains("\x1b[J"));
        newest.unwrap_or_default().to_owned()
    }

    /// Waits until the screen contains this text.
    pub(super) fn shows(&self, text: &str) {
        eventually(&format!("it shows {text:?}"), || {
            self.screen().contains(text)
        });
    }

    pub(super) fn resize(&self, rows: u16, columns: u16) {
        let terminal = self.terminal.try_clone().expect("a descriptor");
        let (rows, columns) = (rows.to_string(), columns.to_string());
        let status = Command::new("stty")
            .args(["rows", &rows, "cols", &columns])
            .stdin(terminal)
            .status();
        assert!(status.expect("stty is there").success());
    }

    /// Asserts that the screen and the settings are restored.
    pub(super) fn assert_restored(&self) {
        let after = tcgetattr(self.terminal.as_fd()).expect("its settings");
        assert_eq!(after, self.before);
        eventually("the other screen is left", || {
            self.drawn().ends_with("\x1b[?7h\x1b[?25h\x1b[?1049l")
        });
    }

    /// Asserts that the terminal is in live view.
    pub(super) fn assert_taken(&self) {
        let now = tcgetattr(self.terminal.as_fd()).expect("its settings");
        assert_ne!(now.local_flags, self.before.local_flags);
        assert!(self.drawn().starts_with("\x1b[?1049h"));
    }
}
