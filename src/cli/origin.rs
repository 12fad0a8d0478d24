//! How a user calls a setting: by the variable or the flag it was given as.

use clap::Arg;
use clap::parser::ValueSource;

/// How a user calls this setting: by its variable if it came from there, else by flag and variable.
pub(super) fn origin_of(arg: &Arg, source: ValueSource) -> String {
    let flag = arg
        .get_long()
        .map(|long| format!("--{long}"))
        .unwrap_or_default();
    match arg.get_env().map(|variable| variable.to_string_lossy()) {
        Some(variable) if source == ValueSource::EnvVariable => variable.into_owned(),
        Some(variable) => format!("{flag} ({variable})"),
        None => flag,
    }
}
