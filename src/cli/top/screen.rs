//! The terminal: its other screen, keys without a line, and everything put back at the end, a panic included.

use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use console::Term;
use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};

/// The other screen, no cursor, and lines that are too long are cut and not wrapped.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// All of it back.
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const CLEAR_REST_OF_LINE: &str = "\x1b[K";
const CLEAR_REST: &str = "\x1b[J";

type Hook = dyn Fn(&PanicHookInfo<'_>) + Send + Sync;

/// The terminal while it is ours. Dropped, it is as it was.
pub(super) struct Screen {
    term: Term,
    /// `None` if standard input is no terminal.
    before: Option<Termios>,
    has_left: Arc<AtomicBool>,
    hook: Arc<Hook>,
}

impl Screen {
    pub(super) fn enter() -> io::Result<Screen> {
        // A panic of this thread is told on the screen that stays; then the stack is unwound, and this dropped.
        let hook: Arc<Hook> = Arc::from(panic::take_hook());
        let has_left = Arc::<AtomicBool>::default();
        let (its, then) = (Arc::clone(&has_left), Arc::clone(&hook));
        let ours = thread::current().id();
        panic::set_hook(Box::new(move |panic| {
            if thread::current().id() == ours {
                leave(&its);
            }
            then(panic);
        }));
        let screen = Screen {
            term: Term::stdout(),
            before: tcgetattr(io::stdin()).ok(),
            has_left,
            hook,
        };
        if let Some(termios) = &screen.before {
            tcsetattr(io::stdin(), SetArg::TCSADRAIN, &by_the_key(termios))?;
        }
        let mut out = io::stdout().lock();
        out.write_all(ENTER.as_bytes()).and_then(|()| out.flush())?;
        Ok(screen)
    }

    /// Lines and columns, as they are now.
    pub(super) fn size(&self) -> (usize, usize) {
        let (lines, columns) = self.term.size();
        (lines.into(), columns.into())
    }

    /// In one write, so that nothing flickers.
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

/// Back to the screen before, once. A terminal that is gone needs nothing put back.
fn leave(has_left: &AtomicBool) {
    if !has_left.swap(true, Ordering::SeqCst) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
    }
}

/// Keys come as they are pressed and are not shown. Ctrl-C is a signal as ever; Ctrl-Z is none, for a shell would find
/// the terminal as we have it.
fn by_the_key(termios: &Termios) -> Termios {
    let mut ours = termios.clone();
    ours.local_flags
        .remove(LocalFlags::ICANON | LocalFlags::ECHO);
    ours.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
    ours.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
    ours.control_chars[SpecialCharacterIndices::VSUSP as usize] = 0;
    ours
}
