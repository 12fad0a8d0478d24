//! Why a command ended without success: one line for a human, an exit code for a script.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::printable;

/// The command was understood, but did not succeed.
const FAILED: u8 = 1;
/// The command line or a variable is wrong.
const USAGE: u8 = 2;
/// What was waited for did not come in time.
const TIMED_OUT: u8 = 3;
/// The server did not keep what it promises.
const BROKEN: u8 = 4;
/// What a shell reports for a program that was interrupted.
const INTERRUPTED: u8 = 130;

/// The end of a command that did not do what it was asked for.
#[derive(Debug)]
pub(super) enum Failure {
    /// One line on standard error, and this exit code.
    Told { line: String, code: u8 },
    /// Several lines, each of which would have been enough.
    Several { lines: Vec<String>, code: u8 },
    /// `--help` or `--version`: asked for, so it is no failure at all.
    Answered(clap::Error),
}

impl Failure {
    /// Something else than the command line is to blame.
    pub(super) fn failed(reason: impl Display) -> Failure {
        Failure::Told {
            line: printable::text(&reason.to_string()),
            code: FAILED,
        }
    }

    /// The command line or a variable is to blame.
    pub(super) fn usage(reason: impl Display) -> Failure {
        Failure::Told {
            line: printable::text(&reason.to_string()),
            code: USAGE,
        }
    }

    /// The time that the user gave is over.
    pub(super) fn timed_out(reason: impl Display) -> Failure {
        Failure::Told {
            line: printable::text(&reason.to_string()),
            code: TIMED_OUT,
        }
    }

    /// Several things about the command line or the variables are to blame.
    pub(super) fn usages(reasons: &[String]) -> Failure {
        let lines = reasons
            .iter()
            .map(|reason| printable::text(reason))
            .collect();
        Failure::Several { lines, code: USAGE }
    }

    /// Several things have failed, each of which is told.
    pub(super) fn failures(reasons: &[String]) -> Failure {
        let lines = reasons
            .iter()
            .map(|reason| printable::text(reason))
            .collect();
        Failure::Several {
            lines,
            code: FAILED,
        }
    }

    /// The server has lost, doubled, reordered or changed something.
    pub(super) fn broken(reason: impl Display) -> Failure {
        Failure::Told {
            line: printable::text(&reason.to_string()),
            code: BROKEN,
        }
    }

    /// A signal came first.
    pub(super) fn interrupted() -> Failure {
        Failure::Told {
            line: "interrupted".to_owned(),
            code: INTERRUPTED,
        }
    }

    /// This, and something that came after it.
    pub(super) fn and(self, later: Failure) -> Failure {
        let code = match &self {
            Failure::Told { code, .. } | Failure::Several { code, .. } => *code,
            Failure::Answered(_) => return later,
        };
        let lines = self.lines().into_iter().chain(later.lines()).collect();
        Failure::Several { lines, code }
    }

    fn lines(self) -> Vec<String> {
        match self {
            Failure::Told { line, .. } => vec![line],
            Failure::Several { lines, .. } => lines,
            Failure::Answered(_) => Vec::new(),
        }
    }

    /// Writes the line. Whoever closed standard error does not want to know.
    pub(super) fn tell(&self) -> ExitCode {
        match self {
            Failure::Told { line, code } => {
                let _ = writeln!(io::stderr(), "threadcast: {line}");
                ExitCode::from(*code)
            }
            Failure::Several { lines, code } => {
                for line in lines {
                    let _ = writeln!(io::stderr(), "threadcast: {line}");
                }
                ExitCode::from(*code)
            }
            Failure::Answered(answer) => {
                let _ = answer.print();
                ExitCode::SUCCESS
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Told { line, .. } => f.write_str(line),
            Failure::Several { lines, .. } => f.write_str(&lines.join("; ")),
            Failure::Answered(answer) => answer.fmt(f),
        }
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Failure {
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Failure::Answered(error),
            _ => match error.get(ContextKind::Custom) {
                Some(ContextValue::String(line)) => Failure::usage(line),
                _ => Failure::usage(shortened(&error)),
            },
        }
    }
}

/// A wrong value: where it came from, the value, and what is allowed there.
pub(super) fn wrong_value(origin: &str, value: &str, allowed: impl Display) -> String {
    format!("{origin}: '{value}' is not allowed: {allowed}")
}

/// The same, where the value may be a secret.
pub(super) fn wrong_secret(origin: &str, allowed: impl Display) -> String {
    format!("{origin}: the value (not shown) is not allowed: {allowed}")
}

/// What clap says in several paragraphs, as its first one and the best of its tips.
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
        Some(meant) => format!("{first} (did you mean '{meant}'?)"),
        None => first.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(
            Failure::failed("a\nb\u{1b}[2J\u{85}é").to_string(),
            "a\\nb\\u{1b}[2J\\u{85}é"
        );
    }
}
