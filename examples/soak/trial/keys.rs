//! The keys file of a trial: a key that stays, and a key for publishers, which is changed again and again.

use std::env::temp_dir;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use parking_lot::Mutex;
use threadcast::NewKey;
use threadcast::load::Failure;

/// The name of the key that changes.
pub(crate) const PUBLISHERS: &str = "publishers";

#[derive(Debug)]
pub(crate) struct Keys {
    path: PathBuf,
    fixed: NewKey,
    publishers: Mutex<String>,
}

impl Keys {
    pub(crate) fn new() -> Result<Keys, Failure> {
        let keys = Keys {
            path: temp_dir().join(format!("threadcast-soak-{}.toml", process::id())),
            fixed: NewKey::generate("fixed")?,
            publishers: Mutex::default(),
        };
        keys.change()?;
        Ok(keys)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The secret that stays, with all rights.
    pub(crate) fn fixed(&self) -> &str {
        self.fixed.secret()
    }

    /// The secret for publishers, once the server has read the file.
    pub(crate) fn publishers(&self) -> String {
        self.publishers.lock().clone()
    }

    /// Writes a fresh key for publishers into the file.
    pub(crate) fn change(&self) -> Result<(), Failure> {
        let fresh = NewKey::generate(PUBLISHERS)?;
        let entries = all_rights(&self.fixed) + &all_rights(&fresh);
        let new = self.path.with_extension("new");
        fs::write(&new, entries)?;
        fs::rename(&new, &self.path)?;
        fresh.secret().clone_into(&mut self.publishers.lock());
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
