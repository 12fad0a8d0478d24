//! Logs to standard error, as text or JSON. One thread writes the lines of a bounded queue. A slow reader loses lines, and
//! never blocks the server.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use tracing::Level;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

use super::value::{self, Allowed};

/// Capacity of the queue, in lines: enough for the closing of all connections, in less than 10 MiB.
const QUEUED_LINES: usize = 32_768;
/// How long the program waits at its end for queued lines. tracing-appender itself waits 1.1 s.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Format {
    #[default]
    Text,
    Json,
}

impl Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Text => "text",
            Format::Json => "json",
        })
    }
}

pub(super) fn format() -> Allowed<Format> {
    value::choice(["text", "json"], |name| match name {
        "text" => Some(Format::Text),
        "json" => Some(Format::Json),
        _ => None,
    })
}

pub(super) fn level() -> Allowed<Level> {
    value::choice(
        ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"],
        |name| match name {
            "error" => Some(Level::ERROR),
            "warn" | "warning" => Some(Level::WARN),
            "info" => Some(Level::INFO),
            "debug" => Some(Level::DEBUG),
            "trace" => Some(Level::TRACE),
            _ => None,
        },
    )
}

/// The running log. Without [`Log::finish`] its last lines are lost.
#[must_use]
pub(super) struct Log {
    guard: WorkerGuard,
    lost: ErrorCounter,
}

impl Log {
    /// Starts the log. Only the first one in a process has an effect.
    pub(super) fn start(level: Level, format: Format) -> Log {
        let (writer, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(QUEUED_LINES)
            .lossy(true)
            .thread_name("log")
            .finish(io::stderr());
        let lost = writer.error_counter();
        subscribe(level, format, writer);
        panic::set_hook(Box::new(log_panic));
        Log { guard, lost }
    }

    /// How many lines were dropped because the queue was full.
    pub(super) fn lost_lines(&self) -> usize {
        self.lost.dropped_lines()
    }

    /// Writes the queued lines, within [`FLUSH_TIMEOUT`]. Uses another thread, because dropping the guard may print an error to
    /// standard output and block there.
    pub(super) fn finish(self) {
        let (done, finished) = bounded::<()>(1);
        let guard = self.guard;
        let flush = thread::Builder::new()
            .name("log-flush".to_owned())
            .spawn(move || {
                drop(guard);
                let _ = done.send(());
            });
        if flush.is_ok() {
            let _ = finished.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

fn subscribe(level: Level, format: Format, writer: NonBlocking) {
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(writer);
    let _ = match format {
        Format::Text => log.with_ansi(wants_color()).with_target(false).try_init(),
        Format::Json => log.json().flatten_event(true).with_ansi(false).try_init(),
    };
}

/// Colours only on a terminal, and not with `NO_COLOR` or `TERM=dumb`.
fn wants_color() -> bool {
    let is_disabled = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    io::stderr().is_terminal() && !is_disabled && !is_dumb
}

/// Logs panics through the queue, since the default hook would block on standard error. Only a literal message is logged: a
/// formatted one may contain data of a client.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    let reason = panic
        .payload()
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or("not shown");
    tracing::error!(thread = thread::current().name(), location, reason, "panic");
}

#[cfg(test)]
mod tests {
    use clap::builder::TypedValueParser;

    use super::*;

    fn parsed<T: Clone + Send + Sync + 'static>(allowed: &Allowed<T>, text: &str) -> Option<T> {
        allowed
            .parse_ref(&clap::Command::new("test"), None, text.as_ref())
            .ok()
    }

    #[test]
    fn levels_are_case_insensitive() {
        assert_eq!(parsed(&level(), "INFO"), Some(Level::INFO));
        assert_eq!(parsed(&level(), "warning"), Some(Level::WARN));
        assert_eq!(parsed(&level(), "Warn"), Some(Level::WARN));
        assert_eq!(parsed(&level(), "verbose"), None);
    }

    #[test]
    fn formats_round_trip() {
        for variant in [Format::Text, Format::Json] {
            assert_eq!(parsed(&format(), &variant.to_string()), Some(variant));
        }
        assert_eq!(parsed(&format(), "xml"), None);
    }
}
