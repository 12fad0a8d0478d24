//! Files of one test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

static FILES: AtomicU32 = AtomicU32::new(0);

/// A file with a text, such as keys or certificates, deleted when dropped.
pub(crate) struct TextFile(PathBuf);

impl TextFile {
    pub(crate) fn new(text: &str) -> TextFile {
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let name = format!("threadcast-test-{}-{number}", std::process::id());
        let file = TextFile(std::env::temp_dir().join(name));
        file.write(text);
        file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The path as a text, such as for a command line.
    pub(crate) fn name(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }

    pub(crate) fn write(&self, text: &str) {
        fs::write(&self.0, text).expect("a file in the temporary folder");
    }
}

impl Drop for TextFile {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}
