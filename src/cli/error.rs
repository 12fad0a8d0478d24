//! The error of a command: lines for people and an exit code for scripts.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::printable;

/// The command failed.
const FAILED: u8 = 1;
/// The command line or a variable is invalid.
const USAGE: u8 = 2;
/// The time limit of the user has passed.
const TIMED_OUT: u8 = 3;
/// The server violated its delivery guarantees.
const BROKEN: u8 = 4;
/// The exit code of shells for an interrupted program.
const INTERRUPTED: u8 = 130;

/// Why a command did not succeed.
#[derive(Debug)]
pub(super) enum CliError {
    /// One or more errors, each a line on standard error, and the exit code.
    Lines { lines: Vec<String>, code: u8 },
    /// `--help` or `--version`, which clap reports as an error. Exit code 0.
    Help(clap::Error),
}

impl CliError {
    fn new(code: u8, reasons: impl IntoIterator<Item = impl Display>) -> CliError {
        let reasons = reasons.into_iter();
        CliError::Lines {
            lines: reasons
                .map(|reason| printable::text(&reason.to_string()))
                .collect(),
            code,
        }
    }

    /// The command line is valid, but the command failed.
    pub(super) fn failed(reason: impl Display) -> CliError {
        CliError::new(FAILED, [reason])
    }

    /// The command line or a variable is invalid.
    pub(super) fn usage(reason: impl Display) -> CliError {
        CliError::new(USAGE, [reason])
    }

    /// The time limit of the user has passed.
    pub(super) fn timed_out(reason: impl Display) -> CliError {
        CliError::new(TIMED_OUT, [reason])
    }

    /// Several errors of the command line or the variables.
    pub(super) fn usages(reasons: &[String]) -> CliError {
        CliError::new(USAGE, reasons)
    }

    /// Several operations failed.
    pub(super) fn failed_all(reasons: &[String]) -> CliError {
        CliError::new(FAILED, reasons)
    }

    /// The server has lost, duplicated, reordered or changed an event.
    pub(super) fn broken(reason: impl Display) -> CliError {
        CliError::new(BROKEN, [reason])
    }

    /// A signal ended the command.
    pub(super) fn interrupted() -> CliError {
        CliError::new(INTERRUPTED, ["interrupted"])
    }

    /// Adds the lines of a later error, and keeps the exit code of this one.
    pub(super) fn and(self, later: CliError) -> CliError {
        match (self, later) {
            (CliError::Lines { mut lines, code }, CliError::Lines { lines: more, .. }) => {
                lines.extend(more);
                CliError::Lines { lines, code }
            }
            (CliError::Help(_), other) | (other, CliError::Help(_)) => other,
        }
    }

    /// Prints the lines and returns the exit code. A closed standard error is ignored.
    pub(super) fn report(&self) -> ExitCode {
        match self {
            CliError::Lines { lines, code } => {
                for line in lines {
                    let _ = writeln!(io::stderr(), "threadcast: {line}");
                }
                ExitCode::from(*code)
            }
            CliError::Help(text) => {
                let _ = text.print();
                ExitCode::SUCCESS
            }
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CliError::Lines { lines, .. } => f.write_str(&lines.join("; ")),
            CliError::Help(text) => text.fmt(f),
        }
    }
}

impl From<clap::Error> for CliError {
    fn from(error: clap::Error) -> CliError {
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => CliError::Help(error),
            _ => match error.get(ContextKind::Custom) {
                Some(ContextValue::String(line)) => CliError::usage(line),
                _ => CliError::usage(shortened(&error)),
            },
        }
    }
}

/// The error text of an invalid value: its origin, the value, and what is allowed.
pub(super) fn wrong_value(origin: &str, value: &str, allowed: impl Display) -> String {
    format!("{origin}: '{value}' is not allowed: {allowed}")
}

/// The error text of an invalid value that may be a secret.
pub(super) fn wrong_secret(origin: &str, allowed: impl Display) -> String {
    format!("{origin}: the value (not shown) is not allowed: {allowed}")
}

/// The first paragraph of an error of clap, and its best suggestion.
fn shortened(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let first: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let first = first.join(" ");
    let first = first.strip_prefix("error: ").unwrap_or(&first);
    let tip = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand].into_iter();
    match tip
        .filter_map(|kind| error.get(kind))
        .map(ToString::to_string)
        .next()
    {
        Some(suggestion) => format!("{first} (did you mean '{suggestion}'?)"),
        None => first.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(
            CliError::failed("a\nb\u{1b}[2J\u{85}é").to_string(),
            "a\\nb\\u{1b}[2J\\u{85}é"
        );
    }
}
