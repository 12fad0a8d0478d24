//! The keys file: TOML, one `[[key]]` for each key. Errors are one line and show no values, since a secret may be misplaced.

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Rights;
use super::digest::Digest;
use super::key::{Key, MAX_NAME_CHARS, is_name};
use crate::protocol::{NamedFields, TopicFilter};

/// Enough for thousands of keys.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The keys file cannot be read or is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidKeysFile {
    /// The file.
    pub file: PathBuf,
    /// The error, in one line that names the key or the line of the file.
    pub reason: String,
}

impl Display for InvalidKeysFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.reason)
    }
}

impl std::error::Error for InvalidKeysFile {}

/// Reads a file. Names and secrets must be unique.
pub(super) fn read(path: &Path) -> Result<Vec<Key>, InvalidKeysFile> {
    let text = read_text(path, MAX_FILE_BYTES).map_err(|error| error.to_string());
    text.and_then(|text| parse(&text))
        .map_err(|reason| InvalidKeysFile {
            file: path.to_owned(),
            reason,
        })
}

/// Reads only regular files: others may block or never end.
pub(super) fn read_text(path: &Path, max_bytes: u64) -> io::Result<String> {
    let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidInput, reason);
    if !fs::metadata(path)?.is_file() {
        return Err(invalid("a regular file is needed".to_owned()));
    }
    let mut text = Vec::new();
    File::open(path)?
        .take(max_bytes + 1)
        .read_to_end(&mut text)?;
    if text.len() as u64 > max_bytes {
        return Err(invalid(format!("more than {max_bytes} bytes")));
    }
    String::from_utf8(text).map_err(|_| invalid("not UTF-8".to_owned()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entries {
    #[serde(default)]
    key: Vec<NamedFields<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sha256: String,
    #[serde(default)]
    publish: Vec<String>,
    #[serde(default)]
    subscribe: Vec<String>,
    #[serde(default)]
    admin: bool,
}

/// Parses the text of a file. A file without keys is an error: it is probably not written yet.
pub(super) fn parse(text: &str) -> Result<Vec<Key>, String> {
    let entries: Entries = toml::from_str(text).map_err(|error| one_line(&error, text))?;
    if entries.key.is_empty() {
        return Err("there is no [[key]] in it".to_owned());
    }
    let keys: Result<Vec<Key>, String> = (1..)
        .zip(entries.key)
        .map(|(number, NamedFields(entry))| entry.check(number))
        .collect();
    let keys = keys?;
    check_unique(&keys)?;
    Ok(keys)
}

impl Entry {
    /// The key. Errors use `number` if the name is invalid.
    fn check(self, number: usize) -> Result<Key, String> {
        let Entry { name, .. } = &self;
        if !is_name(name) {
            return Err(format!(
                "key {number}: name must be 1 to {MAX_NAME_CHARS} printable ASCII characters"
            ));
        }
        let digest = Digest::from_hex(&self.sha256)
            .ok_or_else(|| format!("key '{name}': sha256 must be 64 hex digits"))?;
        Ok(Key {
            rights: Rights {
                publish: patterns(name, "publish", &self.publish)?,
                subscribe: patterns(name, "subscribe", &self.subscribe)?,
                admin: self.admin,
            },
            digest,
            name: self.name,
        })
    }
}

fn patterns(name: &str, field: &str, texts: &[String]) -> Result<Vec<TopicFilter>, String> {
    let invalid = |number: usize| {
        format!(
            "key '{name}': {field}: entry {number} must be a topic name, or a pattern with one to four *"
        )
    };
    (1..)
        .zip(texts)
        .map(|(number, text)| TopicFilter::parse(text).map_err(|_| invalid(number)))
        .collect()
}

fn check_unique(keys: &[Key]) -> Result<(), String> {
    let (mut names, mut digests) = (HashMap::new(), HashMap::new());
    for (number, key) in (1..).zip(keys) {
        let name = &key.name;
        if let Some(first) = names.insert(name, number) {
            return Err(format!(
                "key '{name}': keys {first} and {number} have this name"
            ));
        }
        if let Some(first) = digests.insert(key.digest.as_bytes(), name) {
            return Err(format!("key '{name}': sha256 is that of key '{first}'"));
        }
    }
    Ok(())
}

/// A TOML error in one line: its place and what was expected, but not what was found.
fn one_line(error: &toml::de::Error, text: &str) -> String {
    let message = match error.message().rsplit_once(", expected ") {
        Some((found, expected)) if found.starts_with("invalid ") => format!("expected {expected}"),
        _ => error.message().replace(char::is_control, " "),
    };
    match error.span() {
        Some(span) => {
            let before = text.bytes().take(span.start);
            let line = 1 + before.filter(|byte| *byte == b'\n').count();
            format!("line {line}: {message}")
        }
        None => message,
    }
}

#[cfg(test)]
mod tests;
