//! Key files, checked as a TOML tree.

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use crate::names;

pub struct Key {
    pub name: String,
    pub sha256: String,
    pub publish: Vec<String>,
    pub subscribe: Vec<String>,
    pub admin: bool,
}

/// The keys; `None` if the file must be refused.
pub fn read(text: &str) -> Option<Vec<Key>> {
    let file: Table = toml::from_str(text).ok()?;
    if file.keys().ne(["key"]) {
        return None;
    }
    let keys = file["key"].as_array()?.iter().map(key);
    let keys: Vec<Key> = keys.collect::<Option<_>>()?;
    let repeats = |at: usize, key: &Key| {
        let before = keys[..at].iter();
        let mut same = before.filter(|other| {
            other.name == key.name || other.sha256.eq_ignore_ascii_case(&key.sha256)
        });
        same.next().is_some()
    };
    let repeated = keys.iter().enumerate().any(|(at, key)| repeats(at, key));
    (!keys.is_empty() && !repeated).then_some(keys)
}

fn key(value: &Value) -> Option<Key> {
    let table = value.as_table()?;
    let known = ["name", "sha256", "publish", "subscribe", "admin"];
    if !table.keys().all(|name| known.contains(&name.as_str())) {
        return None;
    }
    let name = table.get("name")?.as_str()?;
    let is_name =
        (1..=128).contains(&name.len()) && name.chars().all(|c| c == ' ' || c.is_ascii_graphic());
    let sha256 = table.get("sha256")?.as_str()?;
    let is_digest = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_name && is_digest).then_some(())?;
    Some(Key {
        name: name.to_owned(),
        sha256: sha256.to_owned(),
        publish: patterns(table.get("publish"))?,
        subscribe: patterns(table.get("subscribe"))?,
        admin: table.get("admin").map_or(Some(false), Value::as_bool)?,
    })
}

fn patterns(value: Option<&Value>) -> Option<Vec<String>> {
    let Some(value) = value else {
        return Some(Vec::new());
    };
    let pattern = |value: &Value| {
        let text = value.as_str()?;
        names::pattern_matches(text, "").map(|_| text.to_owned())
    };
    value.as_array()?.iter().map(pattern).collect()
}

/// Whether the name of a key or a field contains this.
pub fn is_called(text: &str, what: &str) -> bool {
    DeTable::parse(text).is_ok_and(|file| in_table(file.get_ref(), what))
}

fn in_table(table: &DeTable, what: &str) -> bool {
    table.iter().any(|(field, value)| {
        let value = value.get_ref();
        let named =
            field.get_ref() == "name" && value.as_str().is_some_and(|name| name.contains(what));
        field.get_ref().contains(what) || named || in_value(value, what)
    })
}

fn in_value(value: &DeValue, what: &str) -> bool {
    match value {
        DeValue::Table(table) => in_table(table, what),
        DeValue::Array(values) => values.iter().any(|value| in_value(value.get_ref(), what)),
        _ => false,
    }
}
