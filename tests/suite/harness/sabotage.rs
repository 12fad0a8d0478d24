//! A log whose reader panics where a test tells it to: so every line the server logs is a place where the thread that
//! logs it can be made to fail, or to stay, and nothing in the server has to know of it.

use std::fmt::{Debug, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The log of this process, in which one test runs alone.
#[derive(Clone, Default)]
pub(crate) struct Sabotage(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    trap: Option<Trap>,
    hold: Option<(Trap, Receiver<()>)>,
    errors: Vec<String>,
}

struct Trap {
    thread: &'static str,
    line: &'static str,
    passes: usize,
}

impl Sabotage {
    /// Takes the log of this process over.
    pub(crate) fn install() -> Sabotage {
        let sabotage = Sabotage::default();
        tracing::subscriber::set_global_default(sabotage.clone()).expect("the only log");
        sabotage
    }

    /// The next thread whose name begins with `thread` and that logs a line with `line` in it panics there, once.
    pub(crate) fn trap(&self, thread: &'static str, line: &'static str) {
        self.trap_after(0, thread, line);
    }

    /// The same, but the first `passes` of such lines are let through.
    pub(crate) fn trap_after(&self, passes: usize, thread: &'static str, line: &'static str) {
        let trap = Trap {
            thread,
            line,
            passes,
        };
        assert!(self.lock().trap.replace(trap).is_none(), "one at a time");
    }

    /// The next thread whose name begins with `thread` and that logs a line with `line` in it stays there, until what is
    /// returned is dropped.
    pub(crate) fn hold(&self, thread: &'static str, line: &'static str) -> Sender<()> {
        let (release, held) = channel();
        let trap = Trap {
            thread,
            line,
            passes: 0,
        };
        assert!(self.lock().hold.replace((trap, held)).is_none());
        release
    }

    /// Whether a thread is held.
    pub(crate) fn holds(&self) -> bool {
        self.lock().hold.is_none()
    }

    /// Whether the trap has snapped.
    pub(crate) fn has_snapped(&self) -> bool {
        self.lock().trap.is_none()
    }

    /// The lines of level ERROR so far.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.lock().errors.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn snaps(&mut self, thread: &str, line: &str) -> bool {
        let Some(trap) = &mut self.trap else {
            return false;
        };
        if !thread.starts_with(trap.thread) || !line.contains(trap.line) {
            return false;
        }
        if trap.passes > 0 {
            trap.passes -= 1;
            return false;
        }
        self.trap = None;
        true
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").expect("a string takes everything");
    }
}

impl Subscriber for Sabotage {
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
        let snaps = state.snaps(name, &line.0);
        let held = state
            .hold
            .take_if(|(trap, _)| name.starts_with(trap.thread) && line.0.contains(trap.line));
        drop(state);
        assert!(!snaps, "sabotage");
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
