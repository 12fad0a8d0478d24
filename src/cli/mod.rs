//! The command line: which command runs, and the one line that tells why it could not.
//! A command's own work lives in its module; no command knows another.

mod bench;
mod check_config;
mod describe;
mod failure;
mod healthcheck;
mod key;
mod logging;
mod origin;
mod output;
mod printable;
mod publish;
mod reach;
mod serve;
mod settings;
mod signals;
mod sources;
mod subscribe;
mod top;
mod topics;
mod value;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{Arg, ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use bench::Bench;
use check_config::CheckConfig;
use describe::{Completions, Man};
use failure::Failure;
use healthcheck::Healthcheck;
use publish::Publish;
use settings::Settings;
use subscribe::Subscribe;
use top::Top;
use topics::Topics;

/// An in-memory Pub/Sub server: WebSocket and REST on one port, on plain threads.
///
/// Without a command it serves. Each setting is a flag or an environment variable; the flag wins,
/// and an empty variable counts as unset.
#[derive(Debug, Parser)]
#[command(name = "threadcast", version, args_conflicts_with_subcommands = true)]
#[command(after_help = serve::EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server; the same as no command at all
    #[command(after_help = serve::EXAMPLES)]
    Serve(Box<Settings>),
    /// Publish messages to a topic
    Pub(Box<Publish>),
    /// Print the events of topics
    Sub(Box<Subscribe>),
    /// List, make, show and delete topics
    Topics(Box<Topics>),
    /// Watch topics and slow subscribers on the terminal
    Top(Box<Top>),
    /// Ask a server whether it lives; exit code 0 if it does, else 1
    Healthcheck(Healthcheck),
    /// Measure a server, and check that it keeps what it promises
    Bench(Box<Bench>),
    /// Tell the settings that the server would start with, or what is wrong with them
    CheckConfig(Box<CheckConfig>),
    /// Make keys for the keys file
    #[command(subcommand, arg_required_else_help = false, after_help = key::EXAMPLES)]
    Key(KeyCommand),
    /// Print a script that lets a shell complete commands and flags
    Completions(Completions),
    /// Print the manual page, or write that of every command
    Man(Man),
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make up a secret, print it once, and print its entry for the keys file
    #[command(after_help = key::EXAMPLES)]
    New {
        /// What the key is called in the file and in the log
        name: String,
    },
}

/// Runs what the command line asks for.
pub(crate) fn main() -> ExitCode {
    signals::survive_file_limit();
    match parse(&std::env::args_os().collect::<Vec<_>>()).and_then(dispatch) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

fn dispatch((cli, matches): (Cli, ArgMatches)) -> Result<(), Failure> {
    let own = matches.subcommand().map_or(&matches, |(_name, own)| own);
    match cli.command {
        None => serve::run(cli.settings, own),
        Some(Command::Serve(settings)) => serve::run(*settings, own),
        Some(Command::Pub(publish)) => publish::run(&publish),
        Some(Command::Sub(subscribe)) => subscribe::run(&subscribe),
        Some(Command::Topics(topics)) => topics::run(*topics),
        Some(Command::Healthcheck(check)) => healthcheck::run(&check),
        Some(Command::Top(top)) => top::run(&top),
        Some(Command::Bench(bench)) => bench::run(&bench),
        Some(Command::CheckConfig(check)) => check_config::run(&check, own),
        Some(Command::Completions(completions)) => describe::complete(&completions),
        Some(Command::Man(man)) => describe::man(&man),
        Some(Command::Key(KeyCommand::New { name })) => key::new(&name),
    }
}

fn parse(arguments: &[OsString]) -> Result<(Cli, ArgMatches), Failure> {
    let command = command(arguments);
    match command.clone().try_get_matches_from(arguments) {
        Ok(_) if names(arguments, &["--url"]) && names(arguments, &PLACE) => Err(Failure::usage(
            "--url: has host and port in it; leave --host and --port out",
        )),
        Ok(matches) => Ok((Cli::from_arg_matches(&matches)?, matches)),
        Err(error) => Err(check_config::all_wrong(&command, arguments)
            .map_or_else(|| Failure::from(error), |wrong| Failure::usages(&wrong))),
    }
}

/// The command line as it is read this time. A command comes first or not at all
/// (`args_conflicts_with_subcommands`); behind one, the server's own variables mean nothing.
fn command(arguments: &[OsString]) -> clap::Command {
    let command = Cli::command();
    let named = arguments
        .get(1)
        .is_some_and(|first| command.find_subcommand(first).is_some());
    let command = match names(arguments, &PLACE) {
        true => without_url_variable(command),
        false => command,
    };
    command
        .mut_args(|arg| {
            if named {
                arg.env(Resettable::Reset)
            } else {
                setting(arg)
            }
        })
        .mut_subcommands(settings_of)
}

/// What says where a server is, without a URL.
const PLACE: [&str; 2] = ["--host", "--port"];

/// Whether one of these flags is on the command line.
fn names(arguments: &[OsString], flags: &[&str]) -> bool {
    let is_one = |argument: &OsString| {
        let argument = argument.to_string_lossy();
        let name = argument
            .split_once('=')
            .map_or(&*argument, |(name, _)| name);
        flags.contains(&name)
    };
    let mut before_payload = arguments.iter().take_while(|argument| *argument != "--");
    before_payload.any(is_one)
}

/// A flag wins over a variable, also where the flag is for the host and the variable for the URL.
fn without_url_variable(command: clap::Command) -> clap::Command {
    let is_url = |arg: &Arg| arg.get_id() == "url";
    command
        .mut_args(|arg| match is_url(&arg) {
            true => arg.env(Resettable::Reset),
            false => arg,
        })
        .mut_subcommands(without_url_variable)
}

/// The same for a command and for the commands within it.
fn settings_of(command: clap::Command) -> clap::Command {
    command.mut_args(setting).mut_subcommands(settings_of)
}

/// What holds for every setting when it is read: an empty variable is none.
fn setting(arg: Arg) -> Arg {
    let empty = |name| std::env::var_os(name).is_some_and(|value| value.is_empty());
    described(if arg.get_env().is_some_and(empty) {
        arg.env(Resettable::Reset)
    } else {
        arg
    })
}

/// What holds for it in any environment: `-1` is a (wrong) value and not a flag, and `--help` tells what is allowed, but
/// not what is in the environment.
fn described(arg: Arg) -> Arg {
    if !arg.get_action().takes_values() {
        return arg;
    }
    let arg = arg.allow_negative_numbers(true).hide_env_values(true);
    // Our own parsers tell what they allow in a value that nobody sees; names to choose from are listed by clap.
    let allowed = arg
        .get_possible_values()
        .iter()
        .filter(|value| value.is_hide_set())
        .find_map(|value| value.get_help().cloned());
    let arg = arg.hide_possible_values(allowed.is_some());
    let help = arg.get_help().cloned();
    match (help, allowed) {
        (Some(help), Some(allowed)) => arg.long_help(format!("{help}\n\n[allowed: {allowed}]")),
        _ => arg,
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    /// Parses without the environment: whatever a developer has set there must not matter.
    fn parsed(arguments: &[&str]) -> Result<Cli, String> {
        let arguments = iter::once("threadcast").chain(arguments.iter().copied());
        let arguments: Vec<_> = arguments.map(OsString::from).collect();
        let blind = |command: clap::Command| command.mut_args(|arg| arg.env(Resettable::Reset));
        let command = blind(command(&arguments)).mut_subcommands(blind);
        let matches = command
            .try_get_matches_from(arguments)
            .map_err(Failure::from);
        let cli = matches.and_then(|matches| Ok(Cli::from_arg_matches(&matches)?));
        cli.map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_definition_holds_together() {
        command(&[]).debug_assert();
    }

    #[test]
    fn the_bare_program_and_serve_take_the_same_settings() {
        let bare = parsed(&["--port", "9000"]).expect("must parse");
        let serve = parsed(&["serve", "--port", "9000"]).expect("must parse");
        let Some(Command::Serve(settings)) = serve.command else {
            panic!("must serve")
        };
        assert!(bare.command.is_none());
        assert_eq!(bare.settings.config, settings.config);
    }

    #[test]
    fn every_command_has_examples_and_exit_codes_in_its_help() {
        fn check(command: &clap::Command, path: &str) {
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            for expected in ["Examples:", "Exit codes:"] {
                assert!(help.contains(expected), "{path}: {expected}");
            }
        }
        let command = command(&[]);
        check(&command, "threadcast");
        for command in command.get_subcommands() {
            check(command, command.get_name());
            for within in command.get_subcommands() {
                check(within, within.get_name());
            }
        }
    }

    #[test]
    fn nothing_set_is_the_default_config() {
        assert_eq!(
            parsed(&[]).expect("must parse").settings.config,
            threadcast::Config::default()
        );
    }

    #[test]
    fn a_wrong_value_is_told_in_one_line() {
        let told = |arguments: &[&str]| parsed(arguments).expect_err("must be refused");
        assert_eq!(
            told(&["--port", "99999"]),
            "--port: '99999' is not allowed: a port number from 0 to 65535"
        );
        assert_eq!(
            told(&["--rest-workers", "-1"]),
            "--rest-workers: '-1' is not allowed: a whole number from 1 to 256"
        );
        assert_eq!(
            told(&["--prot", "1"]),
            "unexpected argument '--prot' found (did you mean '--port'?)"
        );
    }

    #[test]
    fn whatever_is_wrong_takes_one_line() {
        let wrong: [&[&str]; 6] = [
            &["--port"],
            &["--port", "1", "--port", "2"],
            &["--port", "1", "serve"],
            &["nonsense"],
            &["--host", "a\nb"],
            &["--no\nsense"],
        ];
        for arguments in wrong {
            let line = parsed(arguments).expect_err("must be refused");
            assert!(
                !line.is_empty() && !line.chars().any(char::is_control),
                "{line:?}"
            );
        }
    }
}
