//! The command line: parses the arguments and runs one command. Each command has its own module; no command uses another.

mod bench;
mod check_config;
mod describe;
mod error;
mod healthcheck;
mod key;
mod logging;
mod nodes;
mod origin;
mod output;
mod printable;
mod publish;
mod serve;
mod server_args;
mod settings;
mod signals;
mod sources;
mod subscribe;
mod token;
mod top;
mod topics;
mod unknown_variables;
mod value;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{Arg, ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use bench::Bench;
use check_config::CheckConfig;
use describe::{Completions, Man};
use error::CliError;
use healthcheck::Healthcheck;
use key::KeyCommand;
use nodes::Nodes;
use publish::Publish;
use settings::Settings;
use subscribe::Subscribe;
use token::TokenCommand;
use top::Top;
use topics::Topics;

/// An in-memory Pub/Sub server: WebSocket and REST on one port, on plain threads.
///
/// Without a command it runs the server. Each setting is a flag or an environment variable; the flag takes precedence,
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
    /// Run the server (the default command)
    #[command(after_help = serve::EXAMPLES)]
    Serve(Box<Settings>),
    /// Publish messages to a topic
    Pub(Box<Publish>),
    /// Subscribe to topics and print their events
    Sub(Box<Subscribe>),
    /// List, create, show, change and delete topics
    Topics(Box<Topics>),
    /// List the nodes of a cluster
    Nodes(Box<Nodes>),
    /// Watch topics and slow subscribers in a terminal
    Top(Box<Top>),
    /// Check that a server is alive; exit code 0 if it is, 1 if not
    Healthcheck(Healthcheck),
    /// Measure a server, and check its delivery guarantees
    Bench(Box<Bench>),
    /// Print the settings that the server would use, or their errors
    CheckConfig(Box<CheckConfig>),
    /// Generate keys for the keys file
    #[command(subcommand, arg_required_else_help = false, after_help = key::EXAMPLES)]
    Key(KeyCommand),
    /// Sign tokens, to try them out
    #[command(subcommand, arg_required_else_help = false, after_help = token::EXAMPLES)]
    Token(TokenCommand),
    /// Print a shell completion script
    Completions(Completions),
    /// Print the manual page, or write one for every command
    Man(Man),
}

/// Runs the command.
pub(crate) fn main() -> ExitCode {
    signals::block_file_size_signal();
    match parse(&std::env::args_os().collect::<Vec<_>>()).and_then(dispatch) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

fn dispatch((cli, matches): (Cli, ArgMatches)) -> Result<(), CliError> {
    let own = matches.subcommand().map_or(&matches, |(_name, own)| own);
    match cli.command {
        None => serve::run(cli.settings, own),
        Some(Command::Serve(settings)) => serve::run(*settings, own),
        Some(Command::Pub(publish)) => publish::run(&publish),
        Some(Command::Sub(subscribe)) => subscribe::run(&subscribe),
        Some(Command::Topics(topics)) => topics::run(*topics),
        Some(Command::Nodes(nodes)) => nodes::run(&nodes),
        Some(Command::Healthcheck(check)) => healthcheck::run(&check),
        Some(Command::Top(top)) => top::run(&top),
        Some(Command::Bench(bench)) => bench::run(&bench),
        Some(Command::CheckConfig(check)) => check_config::run(&check, own),
        Some(Command::Completions(completions)) => describe::complete(&completions),
        Some(Command::Man(man)) => describe::man(&man),
        Some(Command::Key(KeyCommand::New { name })) => key::new(&name),
        Some(Command::Token(TokenCommand::New(new))) => token::new(*new),
    }
}

fn parse(arguments: &[OsString]) -> Result<(Cli, ArgMatches), CliError> {
    let command = command(arguments);
    match command.clone().try_get_matches_from(arguments) {
        Ok(_) if has_flag(arguments, &["--url"]) && has_flag(arguments, &ADDRESS) => Err(
            CliError::usage("--url: contains host and port; omit --host and --port"),
        ),
        Ok(matches) => Ok((Cli::from_arg_matches(&matches)?, matches)),
        Err(error) => Err(check_config::all_wrong(&command, arguments)
            .map_or_else(|| CliError::from(error), |wrong| CliError::usages(&wrong))),
    }
}

/// The clap command for these arguments. A command is always the first argument (`args_conflicts_with_subcommands`); with
/// one, the variables of the server do not apply to the top level.
fn command(arguments: &[OsString]) -> clap::Command {
    let command = Cli::command();
    let has_command = arguments
        .get(1)
        .is_some_and(|first| command.find_subcommand(first).is_some());
    let command = match has_flag(arguments, &ADDRESS) {
        true => without_url_variable(command),
        false => command,
    };
    command
        .mut_args(|arg| {
            if has_command {
                arg.env(Resettable::Reset)
            } else {
                setting(arg)
            }
        })
        .mut_subcommands(with_settings)
}

/// The flags for the address of a server, besides `--url`.
const ADDRESS: [&str; 2] = ["--host", "--port"];

/// Whether one of these flags is on the command line.
fn has_flag(arguments: &[OsString], flags: &[&str]) -> bool {
    let matches = |argument: &OsString| {
        let argument = argument.to_string_lossy();
        let name = argument
            .split_once('=')
            .map_or(&*argument, |(name, _)| name);
        flags.contains(&name)
    };
    let mut before_payload = arguments.iter().take_while(|argument| *argument != "--");
    before_payload.any(matches)
}

/// A flag takes precedence over a variable, so `--host` or `--port` disable the variable of the URL.
fn without_url_variable(command: clap::Command) -> clap::Command {
    let is_url = |arg: &Arg| arg.get_id() == "url";
    command
        .mut_args(|arg| match is_url(&arg) {
            true => arg.env(Resettable::Reset),
            false => arg,
        })
        .mut_subcommands(without_url_variable)
}

/// Applies [`setting`] to a command and its subcommands.
fn with_settings(command: clap::Command) -> clap::Command {
    command.mut_args(setting).mut_subcommands(with_settings)
}

/// An empty variable counts as unset.
fn setting(arg: Arg) -> Arg {
    let empty = |name| std::env::var_os(name).is_some_and(|value| value.is_empty());
    described(if arg.get_env().is_some_and(empty) {
        arg.env(Resettable::Reset)
    } else {
        arg
    })
}

/// `-1` is an (invalid) value and not a flag. `--help` shows what is allowed, but no values from the environment.
fn described(arg: Arg) -> Arg {
    if !arg.get_action().takes_values() {
        return arg;
    }
    let arg = arg.allow_negative_numbers(true).hide_env_values(true);
    // Our parsers pass a description in a hidden possible value; clap lists the values of a choice itself.
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

    /// Parses without the environment.
    fn parsed(arguments: &[&str]) -> Result<Cli, String> {
        let arguments = iter::once("threadcast").chain(arguments.iter().copied());
        let arguments: Vec<_> = arguments.map(OsString::from).collect();
        let blind = |command: clap::Command| command.mut_args(|arg| arg.env(Resettable::Reset));
        let command = blind(command(&arguments)).mut_subcommands(blind);
        let matches = command
            .try_get_matches_from(arguments)
            .map_err(CliError::from);
        let cli = matches.and_then(|matches| Ok(Cli::from_arg_matches(&matches)?));
        cli.map_err(|error| error.to_string())
    }

    #[test]
    fn definition_is_valid() {
        command(&[]).debug_assert();
    }

    #[test]
    fn program_without_a_command_and_serve_take_the_same_settings() {
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
    fn without_settings_the_config_is_the_default() {
        assert_eq!(
            parsed(&[]).expect("must parse").settings.config,
            threadcast::Config::default()
        );
    }

    #[test]
    fn invalid_value_is_reported_in_one_line() {
        let error = |arguments: &[&str]| parsed(arguments).expect_err("must be refused");
        assert_eq!(
            error(&["--port", "99999"]),
            "--port: '99999' is not allowed: a port number from 0 to 65535"
        );
        assert_eq!(
            error(&["--rest-workers", "-1"]),
            "--rest-workers: '-1' is not allowed: a whole number from 1 to 256"
        );
        assert_eq!(
            error(&["--prot", "1"]),
            "unexpected argument '--prot' found (did you mean '--port'?)"
        );
    }

    #[test]
    fn every_usage_error_is_one_line() {
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
