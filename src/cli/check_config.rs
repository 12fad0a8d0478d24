//! `threadcast check-config`: prints the settings that a server would start with, or what is wrong with them.

use std::ffi::{OsStr, OsString};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use serde_json::{Value, json};
use threadcast::Server;
use threadcast::config::{Setting, Source};

use super::error::CliError;
use super::output::{self, notice};
use super::serve::not_started;
use super::settings::Settings;
use super::sources;
use super::unknown_variables;

/// The name of the command.
const NAME: &str = "check-config";

const EXAMPLES: &str = "Examples:
  threadcast check-config                             what a server would start with here
  threadcast check-config --keys-file keys.toml       is this file right?
  env $(cat threadcast.env) threadcast check-config --json

Whether the port is free shows only when the server starts.

A variable that begins with PUBSUB_ and that no setting has is named in a warning on standard error.

Exit codes: 0 the server would start with this, 2 something is wrong, one line for each thing.";

/// The same flags and variables as those of the server.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckConfig {
    /// Print JSON, as GET /config does
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    settings: Settings,
}

/// Prints every setting and where it came from. A secret is masked.
pub(super) fn run(check: &CheckConfig, matches: &ArgMatches) -> Result<(), CliError> {
    for text in unknown_variables::in_environment() {
        notice(&format!("warning: {text}"));
    }
    let config = &check.settings.config;
    let settings = sources::settings(matches, config);
    let settings = Server::check(config, settings).map_err(|wrong| {
        let lines = wrong
            .iter()
            .map(|error| not_started(error, matches).to_string());
        CliError::usages(&lines.collect::<Vec<_>>())
    })?;
    if check.json {
        let text = serde_json::to_string_pretty(&json!({ "settings": settings }));
        return output::print(text.map_err(CliError::failed)?).map(drop);
    }
    let lines: Vec<String> = settings.iter().map(line).collect();
    output::write(lines.concat()).map(drop)
}

fn line(setting: &Setting) -> String {
    let value = match serde_json::to_value(&setting.value) {
        Ok(Value::String(text)) => text,
        Ok(Value::Null) | Err(_) => "–".to_owned(),
        Ok(other) => other.to_string(),
    };
    let source = match setting.source {
        Source::Flag => setting.flag(),
        other => other.as_str().to_owned(),
    };
    format!("{:<32} {value:<24} {source}\n", setting.variable())
}

/// Every wrong value among the settings; clap itself stops at the first. `None` when the command is another one, or when
/// something else is wrong.
pub(super) fn all_wrong(command: &clap::Command, arguments: &[OsString]) -> Option<Vec<String>> {
    if arguments.get(1).map(OsString::as_os_str) != Some(OsStr::new(NAME)) {
        return None;
    }
    // Parses once with any value allowed, to see where each comes from; then parses each alone.
    let lenient = command.clone().mut_subcommand(NAME, |own| {
        own.mut_args(|arg| match arg.get_action().takes_values() {
            true => arg.value_parser(clap::value_parser!(OsString)),
            false => arg,
        })
    });
    let matches = lenient.try_get_matches_from(arguments).ok()?;
    let given = matches.subcommand_matches(NAME)?;
    let own = command.find_subcommand(NAME)?;
    let wrong: Vec<String> = own
        .get_arguments()
        .filter(|arg| arg.get_action().takes_values())
        .filter_map(|arg| wrong_alone(arg, given))
        .collect();
    (!wrong.is_empty()).then_some(wrong)
}

/// What is wrong with one setting, if anything.
fn wrong_alone(arg: &clap::Arg, given: &ArgMatches) -> Option<String> {
    let id = arg.get_id().as_str();
    let mut line = vec![OsString::from(NAME)];
    if given.value_source(id) == Some(ValueSource::CommandLine) {
        let mut flag = OsString::from(format!("--{}=", arg.get_long()?));
        flag.push(given.get_raw(id)?.next()?);
        line.push(flag);
    }
    let alone = clap::Command::new(NAME).arg(arg.clone());
    let error = alone.try_get_matches_from(line).err()?;
    Some(CliError::from(error).to_string())
}
