//! The terminal: alternate screen and unbuffered keys. Restores everything at the end, also after a panic.

use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use console::Term;
use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};

/// Alternate screen, no cursor, no line wrapping.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// Reverts [`ENTER`].
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const CLEAR_REST_OF_LINE: &str = "\x1b[K";
const CLEAR_REST: &str = "\x1b[J";

type Hook = dyn Fn(&PanicHookInfo<'_>) + Send + Sync;

/// The terminal in live view. Dropping it restores the terminal.
pub(super) struct Screen {
    term: Term,
    /// The settings to restore; `None` if standard input is not a terminal.
    before: Option<Termios>,
    has_left: Arc<AtomicBool>,
    hook: Arc<Hook>,
}

impl Screen {
    pub(super) fn enter() -> io::Result<Screen> {
        // Leaves the alternate screen before a panic is printed. Unwinding then drops this value.
        let hook: Arc<Hook> = Arc::from(panic::take_hook());
        let has_left = Arc::<AtomicBool>::default();
        let (left, previous) = (Arc::clone(&has_left), Arc::clone(&hook));
        let this_thread = thread::current().id();
        panic::set_hook(Box::new(move |panic| {
            if thread::current().id() == this_thread {
                leave(&left);
            }
            previous(panic);
        }));
        let screen = Screen {
            term: Term::stdout(),
            before: tcgetattr(io::stdin()).ok(),
            has_left,
            hook,
        };
        if let Some(termios) = &screen.before {
            tcsetattr(io::stdin(), SetArg::TCSADRAIN, &unbuffered(termios))?;
        }
        let mut out = io::stdout().lock();
        out.write_all(ENTER.as_bytes()).and_then(|()| out.flush())?;
        Ok(screen)
    }

    /// The current size in lines and columns.
    pub(super) fn size(&self) -> (usize, usize) {
        let (lines, columns) = self.term.size();
        (lines.into(), columns.into())
    }

    /// Draws all lines in one write, to avoid flicker.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let lines = lines.join(&format!("{CLEAR_REST_OF_LINE}\r\n"));
        let text = format!("{HOME}{lines}{CLEAR_REST_OF_LINE}{CLEAR_REST}");
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave(&self.has_left);
        if let Some(termios) = &self.before {
            let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, termios);
        }
        if !thread::panicking() {
            let hook = Arc::clone(&self.hook);
            panic::set_hook(Box::new(move |panic| hook(panic)));
        }
    }
}

/// Leaves the alternate screen, once. Errors are ignored: the terminal may be closed.
fn leave(has_left: &AtomicBool) {
    if !has_left.swap(true, Ordering::SeqCst) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
    }
}

/// Unbuffered input without echo. Ctrl-C still sends a signal. Ctrl-Z does not, since the shell would get the terminal in
/// this state.
fn unbuffered(termios: &Termios) -> Termios {
    let mut changed = termios.clone();
    changed
        .local_flags
        .remove(LocalFlags::ICANON | LocalFlags::ECHO);
    changed.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
    changed.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
    changed.control_chars[SpecialCharacterIndices::VSUSP as usize] = 0;
    changed
}
