//! Where each setting came from: a flag, a variable, or the default.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};

use threadcast::config::{Config, Setting, SettingValue, Source};

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

/// Every setting with where it came from, for those whom the server tells: the library's own, then those that only a
/// program has.
pub(super) fn settings(matches: &ArgMatches, config: &Config) -> Vec<Setting> {
    let mut settings = config.settings();
    for setting in &mut settings {
        setting.source = source(matches, &setting.id);
    }
    for arg in Settings::augment_args(clap::Command::new("serve")).get_arguments() {
        let id = arg.get_id().as_str();
        if settings.iter().all(|setting| setting.id != id) {
            let defaults = arg.get_default_values().iter();
            let default = defaults.map(|value| value.to_string_lossy()).collect();
            settings.push(Setting {
                id: id.to_owned(),
                value: Some(SettingValue::Text(raw(matches, id))),
                default: Some(SettingValue::Text(default)),
                source: source(matches, id),
            });
        }
    }
    settings
}

fn source(matches: &ArgMatches, id: &str) -> Source {
    match matches.value_source(id) {
        Some(ValueSource::CommandLine) => Source::Flag,
        Some(ValueSource::EnvVariable) => Source::Environment,
        _ => Source::Default,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_and_the_command_line_call_every_setting_the_same() {
        let command = Settings::augment_args(clap::Command::new("serve"));
        let matches = command
            .clone()
            .mut_args(|arg| arg.env(clap::builder::Resettable::Reset))
            .get_matches_from(["serve"]);
        let settings = settings(&matches, &Config::default());
        for arg in command.get_arguments() {
            let id = arg.get_id().as_str();
            let mut named = settings.iter().filter(|setting| setting.id == id);
            let (setting, another) = (named.next().expect(id), named.next());
            assert_eq!(another, None);
            let variable = arg.get_env().map(|variable| variable.to_string_lossy());
            assert_eq!(variable.as_deref(), Some(&*setting.variable()));
            let flag = arg.get_long().map(|long| format!("--{long}"));
            assert_eq!(flag, Some(setting.flag()));
        }
        assert_eq!(settings.len(), command.get_arguments().count());
    }

    #[test]
    fn a_secret_is_a_setting_of_the_library_which_masks_it() {
        let own = Config::default().settings();
        for secret in SECRETS {
            assert!(own.iter().any(|setting| setting.id == secret), "{secret}");
        }
    }
}
