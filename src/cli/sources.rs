//! Where each setting came from: a flag, a variable, or the default.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};

use threadcast::config::{Config, Setting, SettingValue, Source};

use super::origin::origin_of;
use super::settings::Settings;

/// Every setting as given, grouped by where it came from.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    pub(super) flags: String,
    pub(super) environment: String,
    pub(super) defaults: String,
}

impl Sources {
    /// Lists these settings. All of this is logged, so of a secret it says only whether it is set.
    pub(super) fn of(matches: &ArgMatches, settings: &[Setting]) -> Sources {
        let mut sources = Sources::default();
        for setting in settings {
            let id = setting.id.as_str();
            let group = match matches.value_source(id) {
                Some(ValueSource::CommandLine) => &mut sources.flags,
                Some(ValueSource::EnvVariable) => &mut sources.environment,
                Some(_) => &mut sources.defaults,
                None => continue,
            };
            let separator = if group.is_empty() { "" } else { " " };
            let value = match &setting.value {
                Some(SettingValue::Secret) => "set".to_owned(),
                // Without the passwords that were given.
                Some(SettingValue::List(urls)) if id == "redis_url" => urls.join(","),
                _ => raw(matches, id),
            };
            group.push_str(&format!("{separator}{id}={value}"));
        }
        sources
    }
}

/// Every setting with its value and its source: those of the library, then those that only the program has.
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

/// How the user gave a setting that turned out to be wrong only when it was used.
pub(super) fn origin_of_setting(matches: &ArgMatches, id: &str) -> String {
    let source = matches
        .value_source(id)
        .unwrap_or(ValueSource::DefaultValue);
    let command = Settings::augment_args(clap::Command::new("serve"));
    let arg = command.get_arguments().find(|arg| arg.get_id() == id);
    arg.map_or_else(|| id.to_owned(), |arg| origin_of(arg, source))
}
