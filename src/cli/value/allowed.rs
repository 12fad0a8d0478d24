//! A parser of values, as clap uses it: its phrase is in the help and in the error of a wrong value.

use std::ffi::OsStr;
use std::iter;
use std::sync::Arc;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;

use threadcast::config::{Config, Field};

use crate::cli::error::{wrong_secret, wrong_value};
use crate::cli::origin::origin_of;

/// A wrong value is shown up to this length.
pub(super) const MAX_SHOWN_CHARS: usize = 100;

type Parse<T> = dyn Fn(&str) -> Option<T> + Send + Sync;

/// A parser for one kind of setting.
#[derive(Clone)]
pub(in crate::cli) struct Allowed<T> {
    pub(super) phrase: String,
    pub(super) parse: Arc<Parse<T>>,
    /// The names that shell completion offers.
    names: Vec<&'static str>,
    /// Whether errors must not show the value.
    is_secret: fn(&str) -> bool,
}

impl<T> Allowed<T> {
    pub(super) fn new(
        phrase: String,
        parse: impl Fn(&str) -> Option<T> + Send + Sync + 'static,
    ) -> Self {
        Allowed {
            phrase,
            parse: Arc::new(parse),
            names: Vec::new(),
            is_secret: |_| false,
        }
    }

    pub(super) fn offering<const N: usize>(self, names: [&'static str; N]) -> Self {
        Allowed {
            names: names.to_vec(),
            ..self
        }
    }

    /// The parser of a setting: what it parses goes into this field of the configuration.
    pub(in crate::cli) fn into_field<F>(self, field: &Field<F>) -> Allowed<Change>
    where
        T: Clone + Send + Sync + 'static,
        F: From<T> + 'static,
    {
        let Allowed {
            phrase,
            parse,
            names,
            is_secret,
        } = self;
        let get_mut = field.get_mut;
        let change = move |value: T| {
            Change(Arc::new(move |config: &mut Config| {
                *get_mut(config) = value.clone().into();
            }))
        };
        Allowed {
            phrase,
            parse: Arc::new(move |text| parse(text).map(change)),
            names,
            is_secret,
        }
    }

    /// For a secret: errors do not show a value for which this is true.
    pub(super) fn secret(self, is_secret: fn(&str) -> bool) -> Self {
        Allowed { is_secret, ..self }
    }
}

/// A new value for one setting.
#[derive(Clone)]
pub(in crate::cli) struct Change(Arc<dyn Fn(&mut Config) + Send + Sync>);

impl Change {
    pub(in crate::cli) fn apply(&self, config: &mut Config) {
        (self.0)(config);
    }
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Allowed<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        self.parse_ref_(command, arg, value, ValueSource::CommandLine)
    }

    fn parse_ref_(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
        source: ValueSource,
    ) -> Result<T, clap::Error> {
        value
            .to_str()
            .and_then(|text| (self.parse)(text))
            .ok_or_else(|| {
                let origin = arg.map(|arg| origin_of(arg, source)).unwrap_or_default();
                let line = match (self.is_secret)(&value.to_string_lossy()) {
                    true => wrong_secret(&origin, &self.phrase),
                    false => wrong_value(&origin, &shown(value), &self.phrase),
                };
                let mut error = clap::Error::new(ErrorKind::ValueValidation).with_cmd(command);
                error.insert(ContextKind::Custom, ContextValue::String(line));
                error
            })
    }

    /// The phrase is for the help, which shows it instead of the names; the names are for shell completion.
    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let allowed = PossibleValue::new("").help(self.phrase.clone()).hide(true);
        let names = self.names.iter().map(PossibleValue::new);
        Some(Box::new(iter::once(allowed).chain(names)))
    }
}

/// A wrong value for an error text: printable, and cut to a length that fits a line.
pub(super) fn shown(value: &OsStr) -> String {
    let text = match value.to_str() {
        Some(text) => text.chars().flat_map(char::escape_debug).collect(),
        None => value.as_encoded_bytes().escape_ascii().to_string(),
    };
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
