//! What clap knows about the command line, for shells and for `man`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::builder::{PossibleValuesParser, Resettable};
use clap::{Arg, Args, Command, CommandFactory, ValueHint};
use clap_complete::Shell;
use clap_mangen::roff::{Roff, roman};

use super::error::CliError;
use super::{Cli, described, output};

const COMPLETIONS_EXAMPLES: &str = "Examples:
  source <(threadcast completions bash)
  threadcast completions zsh >~/.zfunc/_threadcast
  threadcast completions fish >~/.config/fish/completions/threadcast.fish

Exit codes: 0 printed, 1 it could not be, 2 the command line is wrong.";

const MAN_EXAMPLES: &str = "Examples:
  threadcast man | man -l -
  threadcast man --dir /usr/local/share/man/man1

Exit codes: 0 done, 1 a file could not be written, 2 the command line is wrong.";

/// Which shell.
#[derive(Debug, Clone, Args)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Where to.
#[derive(Debug, Clone, Args)]
#[command(after_help = MAN_EXAMPLES)]
pub(super) struct Man {
    /// Write a page for the program and for each of its commands into this directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

/// Prints the script.
pub(super) fn complete(completions: &Completions) -> Result<(), CliError> {
    let mut script = Vec::new();
    let mut command = each(Cli::command(), &completable);
    clap_complete::generate(completions.shell, &mut command, "threadcast", &mut script);
    output::write(String::from_utf8_lossy(&script)).map(drop)
}

/// A value whose parser knows no names to choose from is left to the user; a path to the shell.
fn completable(arg: Arg) -> Arg {
    if !arg.get_action().takes_values() {
        return arg;
    }
    let mut names = arg.get_possible_values();
    names.retain(|name| !name.is_hide_set());
    match (names.is_empty(), arg.get_value_hint()) {
        (false, _) => arg.value_parser(PossibleValuesParser::new(names)),
        (true, ValueHint::Unknown) => arg
            .value_parser(clap::value_parser!(OsString))
            .value_hint(ValueHint::Other),
        (true, _) => arg.value_parser(clap::value_parser!(OsString)),
    }
}

/// Prints the page of the program, or writes all of them.
pub(super) fn man(man: &Man) -> Result<(), CliError> {
    let mut command = each(Cli::command(), &described).disable_help_subcommand(true);
    command.build();
    let Some(dir) = &man.dir else {
        let page = page(&command).map_err(CliError::failed)?;
        return output::write(String::from_utf8_lossy(&page)).map(drop);
    };
    write_pages(&command, dir)
        .map_err(|error| CliError::failed(format!("--dir: '{}': {error}", dir.display())))
}

fn write_pages(command: &Command, dir: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    fs::write(dir.join(format!("{name}.1")), page(command)?)?;
    command
        .get_subcommands()
        .try_for_each(|command| write_pages(command, dir))
}

/// The page of one command; its examples stand as they are written.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let examples = command.get_after_help().map(ToString::to_string);
    let command = command.clone().after_help(Resettable::Reset);
    clap_mangen::Man::new(command).render(&mut page)?;
    if let Some(examples) = examples {
        let mut section = Roff::new();
        section.control("SH", ["EXAMPLES AND EXIT CODES"]);
        section.control("nf", []);
        for line in examples.lines() {
            section.text([roman(line)]);
        }
        section.control("fi", []);
        section.to_writer(&mut page)?;
    }
    Ok(page)
}

/// The same change to each argument of each command.
fn each(command: Command, change: &dyn Fn(Arg) -> Arg) -> Command {
    command
        .mut_args(change)
        .mut_subcommands(|command| each(command, change))
}
