//! A log subscriber that makes the logging thread panic or block at a line that a test chooses, so that the server needs
//! no test hooks.

use std::fmt::{Debug, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The log subscriber of this process; tests that install it run in their own process.
#[derive(Clone, Default)]
pub(crate) struct LogHook(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    panic_at: Option<Place>,
    block_at: Option<(Place, Receiver<()>)>,
    errors: Vec<String>,
}

struct Place {
    thread: &'static str,
    line: &'static str,
    passes: usize,
}

impl LogHook {
    /// Installs the subscriber for the whole process.
    pub(crate) fn install() -> LogHook {
        let hook = LogHook::default();
        tracing::subscriber::set_global_default(hook.clone()).expect("no other log subscriber");
        hook
    }

    /// Makes the next thread whose name starts with `thread` panic when it logs a line that contains `line`, once.
    pub(crate) fn panic_at(&self, thread: &'static str, line: &'static str) {
        self.panic_after(0, thread, line);
    }

    /// Like [`LogHook::panic_at`], after `passes` such lines.
    pub(crate) fn panic_after(&self, passes: usize, thread: &'static str, line: &'static str) {
        let place = Place {
            thread,
            line,
            passes,
        };
        assert!(
            self.lock().panic_at.replace(place).is_none(),
            "one injected panic at a time"
        );
    }

    /// Makes the next thread whose name starts with `thread` block when it logs a line that contains `line`, until the
    /// returned sender is dropped.
    pub(crate) fn block_at(&self, thread: &'static str, line: &'static str) -> Sender<()> {
        let (release, held) = channel();
        let place = Place {
            thread,
            line,
            passes: 0,
        };
        assert!(self.lock().block_at.replace((place, held)).is_none());
        release
    }

    /// Whether a thread has reached the line given to [`LogHook::block_at`].
    pub(crate) fn has_blocked(&self) -> bool {
        self.lock().block_at.is_none()
    }

    /// Whether a thread has panicked at the line given to [`LogHook::panic_at`].
    pub(crate) fn has_panicked(&self) -> bool {
        self.lock().panic_at.is_none()
    }

    /// The lines logged at level ERROR.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.lock().errors.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn panics(&mut self, thread: &str, line: &str) -> bool {
        let Some(place) = &mut self.panic_at else {
            return false;
        };
        if !thread.starts_with(place.thread) || !line.contains(place.line) {
            return false;
        }
        if place.passes > 0 {
            place.passes -= 1;
            return false;
        }
        self.panic_at = None;
        true
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").expect("a string takes everything");
    }
}

impl Subscriber for LogHook {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("threadcast")
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        let thread = thread::current();
        let mut state = self.lock();
        if *event.metadata().level() == tracing::Level::ERROR {
            state.errors.push(line.0.clone());
        }
        let name = thread.name().unwrap_or_default();
        let panics = state.panics(name, &line.0);
        let held = state
            .block_at
            .take_if(|(place, _)| name.starts_with(place.thread) && line.0.contains(place.line));
        drop(state);
        assert!(!panics, "panic injected by a test");
        if let Some((_, held)) = held {
            let _released = held.recv();
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
