//! Certificates of one test, made with `openssl`: an authority, and a certificate of it for the loopback address.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory with the files; removed when dropped.
pub(crate) struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    /// For a server at 127.0.0.1.
    pub(crate) fn new() -> Certificates {
        Certificates::naming("IP:127.0.0.1")
    }

    /// For a server with this name, such as `DNS:redis.example`.
    pub(crate) fn naming(name: &str) -> Certificates {
        static DIRECTORIES: AtomicU32 = AtomicU32::new(0);
        let number = DIRECTORIES.fetch_add(1, Ordering::Relaxed);
        let directory = format!("threadcast-tls-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(directory);
        let _old = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("a directory");
        let certificates = Certificates { directory };
        certificates.make(name);
        certificates
    }

    fn make(&self, name: &str) {
        let key = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout";
        let (name, constraint) = (
            format!("subjectAltName={name}"),
            "basicConstraints=critical,CA:FALSE",
        );
        self.openssl(&format!(
            "{key} ca.key -x509 -days 2 -subj /CN=authority -out ca.pem"
        ));
        self.openssl(&format!(
            "{key} redis.key -x509 -days 2 -subj /CN=redis -addext {name} -addext {constraint} -CA ca.pem -CAkey ca.key -out redis.pem"
        ));
    }

    fn openssl(&self, words: &str) {
        let made = Command::new("openssl")
            .args(words.split_whitespace())
            .current_dir(&self.directory)
            .output()
            .expect("openssl is installed");
        let log = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "openssl {words}: {log}");
    }

    /// The certificate of the authority.
    pub(crate) fn ca(&self) -> String {
        self.path("ca.pem")
    }

    /// A certificate of the authority, and its key: what a node can show.
    pub(crate) fn pair(&self) -> [String; 2] {
        ["redis.pem", "redis.key"].map(|file| self.path(file))
    }

    /// The settings of a Redis or a Sentinel that speaks TLS at this port.
    pub(crate) fn settings(&self, port: u16) -> Vec<(String, String)> {
        let setting = |name: &str, value: String| (name.to_owned(), value);
        vec![
            setting("tls-port", port.to_string()),
            setting("tls-cert-file", self.path("redis.pem")),
            setting("tls-key-file", self.path("redis.key")),
            setting("tls-ca-cert-file", self.path("ca.pem")),
            setting("tls-auth-clients", "no".to_owned()),
        ]
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn path(&self, file: &str) -> String {
        let path = self.directory.join(file);
        path.to_str().expect("a path").to_owned()
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.directory);
    }
}
