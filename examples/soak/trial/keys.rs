//! The keys of a trial, in a file of its own: one for those who must stay, and one for publishers, which is changed again
//! and again.

use std::env::temp_dir;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, PoisonError};

use threadcast::NewKey;

use super::Failure;

/// The name of the key that changes.
pub(crate) const PUBLISHERS: &str = "publishers";

#[derive(Debug)]
pub(crate) struct Keys {
    path: PathBuf,
    house: NewKey,
    publishers: Mutex<String>,
}

impl Keys {
    pub(crate) fn new() -> Result<Keys, Failure> {
        let keys = Keys {
            path: temp_dir().join(format!("threadcast-soak-{}.toml", process::id())),
            house: NewKey::generate("house")?,
            publishers: Mutex::default(),
        };
        keys.change()?;
        Ok(keys)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The secret that may do everything and stays.
    pub(crate) fn house(&self) -> &str {
        self.house.secret()
    }

    /// The secret that publishers have to present, once the file is read.
    pub(crate) fn publishers(&self) -> String {
        let secret = self.publishers.lock();
        secret.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes a fresh key for publishers into the file.
    pub(crate) fn change(&self) -> Result<(), Failure> {
        let fresh = NewKey::generate(PUBLISHERS)?;
        let entries = all_rights(&self.house) + &all_rights(&fresh);
        let new = self.path.with_extension("new");
        fs::write(&new, entries)?;
        fs::rename(&new, &self.path)?;
        let mut secret = self
            .publishers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        fresh.secret().clone_into(&mut secret);
        Ok(())
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.path);
    }
}

fn all_rights(key: &NewKey) -> String {
    let entry = key.entry().replace("= []", "= [\"*\"]");
    entry.replace("admin = false", "admin = true")
}
