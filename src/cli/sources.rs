//! Where each setting came from: a flag, a variable, or the default.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};

use super::origin::origin_of;
use super::settings::{SECRETS, Settings};

/// Every setting as given, grouped by where it came from.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    pub(super) flags: String,
    pub(super) environment: String,
    pub(super) defaults: String,
}

impl Sources {
    /// Lists the server's settings. All of this is logged, so of one of [`SECRETS`] it says only whether it is set.
    pub(super) fn of(matches: &ArgMatches) -> Sources {
        let mut sources = Sources::default();
        for arg in Settings::augment_args(clap::Command::new("serve")).get_arguments() {
            let id = arg.get_id().as_str();
            let group = match matches.value_source(id) {
                Some(ValueSource::CommandLine) => &mut sources.flags,
                Some(ValueSource::EnvVariable) => &mut sources.environment,
                Some(_) => &mut sources.defaults,
                None => continue,
            };
            let separator = if group.is_empty() { "" } else { " " };
            let value = match raw(matches, id) {
                secret if SECRETS.contains(&id) && !secret.is_empty() => "set".to_owned(),
                value => value,
            };
            group.push_str(&format!("{separator}{id}={value}"));
        }
        sources
    }
}

fn raw(matches: &ArgMatches, id: &str) -> String {
    let values = matches.get_raw(id).into_iter().flatten();
    values
        .map(|value| value.to_string_lossy())
        .collect::<Vec<_>>()
        .join(",")
}

/// The same, for a setting that turned out to be wrong only when it was used.
pub(super) fn origin_of_setting(matches: &ArgMatches, id: &str) -> String {
    let source = matches
        .value_source(id)
        .unwrap_or(ValueSource::DefaultValue);
    let command = Settings::augment_args(clap::Command::new("serve"));
    let arg = command.get_arguments().find(|arg| arg.get_id() == id);
    arg.map_or_else(|| id.to_owned(), |arg| origin_of(arg, source))
}
