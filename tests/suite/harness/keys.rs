//! Key files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

static FILES: AtomicU32 = AtomicU32::new(0);

/// The entry of a key with these lines for its rights.
pub(crate) fn entry(name: &str, secret: &str, rights: &str) -> String {
    let sha256 = HEXLOWER.encode(&Sha256::digest(secret));
    format!("[[key]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\n{rights}\n\n")
}

/// A key file, deleted when dropped.
pub(crate) struct KeysFile(PathBuf);

impl KeysFile {
    pub(crate) fn new(text: &str) -> KeysFile {
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let name = format!("threadcast-keys-{}-{number}.toml", std::process::id());
        let file = KeysFile(std::env::temp_dir().join(name));
        file.write(text);
        file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, text: &str) {
        fs::write(&self.0, text).expect("a file in the temporary folder");
    }
}

impl Drop for KeysFile {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}
