//! Flags and environment variables of all settings: a loop over [`SETTINGS`]. The settings of the logs are added here, because
//! only the program writes logs.

use clap::builder::{OsStr, Resettable};
use clap::error::Result;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, ValueHint};
use threadcast::config::{Config, Kind, OverflowPolicy, SETTINGS, SettingDefinition, SettingValue};
use tracing::Level;

use super::logging::{self, Format};
use super::value::{self, Allowed, Bytes, Change, Seconds};

/// The settings of the server and of its logs.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) logs: Logs,
}

/// What is logged, on standard error.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logging")]
pub(super) struct Logs {
    /// The least severe level that is logged
    #[arg(long, env = "PUBSUB_LOG_LEVEL", value_name = "LEVEL")]
    #[arg(default_value_t = Level::INFO, value_parser = logging::level())]
    pub(super) log_level: Level,

    /// The shape of a log line
    #[arg(long, env = "PUBSUB_LOG_FORMAT", value_name = "FORMAT")]
    #[arg(default_value_t = Format::default(), value_parser = logging::format())]
    pub(super) log_format: Format,
}

impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        let mut settings: Vec<_> = SETTINGS.iter().collect();
        settings.sort_by_key(|setting| setting.group);
        Logs::augment_args(command.args(settings.into_iter().map(arg)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Settings::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Settings> {
        let mut config = Config::default();
        for setting in SETTINGS {
            // A global argument of another command, such as `--host` of `pub`, has the same id and another type.
            if let Ok(Some(change)) = matches.try_get_one::<Change>(&setting.id()) {
                change.apply(&mut config);
            }
        }
        Ok(Settings {
            config,
            logs: Logs::from_arg_matches(matches)?,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<()> {
        *self = Settings::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The flag and the variable of one setting.
fn arg(definition: &SettingDefinition) -> Arg {
    let setting = definition.of(&Config::default());
    let default = setting
        .default
        .as_ref()
        .map(|value| text(definition, value));
    let help = match default.as_deref() {
        Some("") | None => format!("{} [default: {}]", definition.help(), unset(definition)),
        Some(_) => definition.help().to_owned(),
    };
    Arg::new(setting.id.clone())
        .long(setting.flag().split_off("--".len()))
        .env(setting.variable())
        .value_name(definition.value_name)
        .value_parser(parser(&definition.kind))
        .value_hint(match definition.kind {
            Kind::File(_) | Kind::Certificates(_) | Kind::PrivateKey(_) => ValueHint::FilePath,
            _ => ValueHint::Unknown,
        })
        .help(help)
        .help_heading(format!("{:?}", definition.group))
        .hide_default_value(default.as_deref() == Some(""))
        .default_value(Resettable::from(default.map(OsStr::from)))
}

/// The value of a setting as a user would write it.
fn text(definition: &SettingDefinition, value: &SettingValue) -> String {
    match value {
        SettingValue::Whole(bytes) if matches!(definition.kind, Kind::Bytes(..)) => {
            Bytes(*bytes as usize).to_string()
        }
        SettingValue::Whole(number) => number.to_string(),
        SettingValue::Switch(on) => on.to_string(),
        SettingValue::Time(time) => Seconds(*time).to_string(),
        SettingValue::Text(text) => text.clone(),
        SettingValue::List(texts) => texts.join(","),
        SettingValue::Secret => "set".to_owned(),
    }
}

/// What holds while the setting has no value.
fn unset(definition: &SettingDefinition) -> &'static str {
    match definition.kind {
        Kind::OptionalNumber(..) => "computed",
        _ => "none",
    }
}

fn parser(kind: &Kind) -> Allowed<Change> {
    match kind {
        Kind::Host(field) => value::host().into_field(field),
        Kind::Port(field) => value::port().into_field(field),
        Kind::Number(field, range) => value::number(range.clone()).into_field(field),
        Kind::OptionalNumber(field, range) => value::number(range.clone()).into_field(field),
        Kind::Rate(field, range) => value::number(range.clone()).into_field(field),
        Kind::Bytes(field, range) => value::bytes(range.clone()).into_field(field),
        Kind::Time(field, range) => value::seconds(range.clone()).into_field(field),
        Kind::Switch(field) | Kind::ProxyProtocol(field) => value::switch().into_field(field),
        Kind::Overflow(field) => overflow().into_field(field),
        Kind::Origins(field) => value::origins().into_field(field),
        Kind::Networks(field) => value::networks().into_field(field),
        Kind::TopicNames(field) => value::topic_names().into_field(field),
        Kind::RedisUrls(field) => value::redis_urls().into_field(field),
        Kind::RedisPrefix(field) => value::redis_prefix().into_field(field),
        Kind::Address(field) => value::advertised_address().into_field(field),
        Kind::Secret(field) => value::api_key().into_field(field),
        Kind::TokenSecret(field) => value::jwt_secret().into_field(field),
        Kind::TokenKeys(field) => value::jwt_keys().into_field(field),
        Kind::Claim(field) => value::claim().into_field(field),
        Kind::File(field) => value::file().into_field(field),
        Kind::Certificates(field) => value::certificates().into_field(field),
        Kind::PrivateKey(field) => value::private_key().into_field(field),
    }
}

pub(super) fn overflow() -> Allowed<OverflowPolicy> {
    let names = OverflowPolicy::ALL.map(OverflowPolicy::as_str);
    value::choice(names, |name| name.parse().ok())
}
