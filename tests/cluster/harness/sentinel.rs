//! A Redis Sentinel of one test: a process that watches a primary under the name [`MASTER`].

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::process::Process;
use super::resp::{Answer, RespClient};
use super::{free_port, within};

/// The name of the primary.
pub(crate) const MASTER: &str = "mymaster";

const START_LIMIT: Duration = Duration::from_secs(10);

/// A `redis-server --sentinel`, killed when dropped.
pub(crate) struct Sentinel {
    port: u16,
    directory: PathBuf,
    password: Option<String>,
    process: Process,
}

impl Sentinel {
    /// Watches `primary`; so many must agree that it is down.
    pub(crate) fn watching(primary: SocketAddr, quorum: usize) -> Sentinel {
        Sentinel::with(free_port(), primary, quorum, &[])
    }

    /// On this port, with these settings, each named as in the file of settings.
    pub(crate) fn with(
        port: u16,
        primary: SocketAddr,
        quorum: usize,
        settings: &[(String, String)],
    ) -> Sentinel {
        static DIRECTORIES: AtomicU32 = AtomicU32::new(0);
        let number = DIRECTORIES.fetch_add(1, Ordering::Relaxed);
        let name = format!("threadcast-sentinel-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let _old = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("a directory");
        let mut file = format!(
            "bind 127.0.0.1\nport {port}\nsentinel monitor {MASTER} {} {} {quorum}\n\
             sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 5000\n",
            primary.ip(),
            primary.port(),
        );
        for (name, value) in settings {
            file.push_str(&format!("{name} {value}\n"));
        }
        fs::write(directory.join("sentinel.conf"), file).expect("a file");
        let password = settings.iter().find(|(name, _)| name == "requirepass");
        let sentinel = Sentinel {
            port,
            directory,
            password: password.map(|(_, secret)| secret.clone()),
            process: Process::default(),
        };
        sentinel.spawn();
        sentinel
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Its answer to a command, on a connection of its own.
    #[track_caller]
    pub(crate) fn command(&self, words: &[&str]) -> Answer {
        self.try_command(words)
            .unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    pub(crate) fn try_command(&self, words: &[&str]) -> io::Result<Answer> {
        RespClient::ask(self.addr(), self.password.as_deref(), words)
    }

    /// The address of the primary, as it says.
    pub(crate) fn named(&self) -> SocketAddr {
        let named = self.command(&["SENTINEL", "get-master-addr-by-name", MASTER]);
        let named = named.texts().join(":");
        named.parse().expect("an address")
    }

    /// Waits until it knows so many replicas that work, and so many other Sentinels.
    pub(crate) fn await_known(&self, replicas: usize, others: usize) {
        within(START_LIMIT, "the Sentinel knows the others", || {
            let master = self.command(&["SENTINEL", "MASTER", MASTER]).texts();
            let field = |name: &str| {
                let at = master.iter().position(|text| text == name);
                at.map(|at| master[at + 1].clone()).unwrap_or_default()
            };
            // Replicas whose link to the primary works may be promoted.
            let works = self.try_command(&["SENTINEL", "CKQUORUM", MASTER]).is_ok();
            works
                && field("num-slaves") == replicas.to_string()
                && field("num-other-sentinels") == others.to_string()
        });
    }

    pub(crate) fn kill(&self) {
        self.process.kill();
    }

    /// Stops it (SIGSTOP): it accepts connections and says nothing.
    pub(crate) fn pause(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    fn spawn(&self) {
        self.process.launch(|command| {
            command
                .arg(self.directory.join("sentinel.conf"))
                .args(["--sentinel", "--logfile"])
                .arg(self.directory.join("sentinel.log"));
        });
        within(START_LIMIT, "the Sentinel answers", || {
            self.try_command(&["PING"]).is_ok()
        });
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.kill();
        let _gone = fs::remove_dir_all(&self.directory);
    }
}
