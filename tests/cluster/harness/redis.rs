//! A Redis server of one test: a process on a free port with a directory of its own, which the test can kill, stop and restart.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::process::Process;
use super::resp::{Answer, RespClient};
use super::{Certificates, within};

/// Below the ports that the system gives to connections, so that a server that restarts finds its port free.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

const START_LIMIT: Duration = Duration::from_secs(10);

/// A port of the loopback address that nobody listens on; no other test of this process gets it.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = (std::process::id() % 100) as u16 * 120;
    let candidates = std::iter::repeat_with(|| {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        PORTS.start + (offset + number) % (PORTS.end - PORTS.start)
    });
    let mut candidates = candidates.take(PORTS.len());
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    candidates.find(is_free).expect("a free port")
}

/// A `redis-server`, killed when dropped.
pub(crate) struct Redis {
    port: u16,
    /// Where it speaks TLS to nodes. The tests themselves use the other port.
    tls_port: Option<u16>,
    directory: PathBuf,
    flags: Vec<(String, String)>,
    password: Mutex<Option<String>>,
    process: Process,
}

impl Redis {
    /// Without persistence, with the defaults of Redis.
    pub(crate) fn start() -> Redis {
        Redis::with(&[])
    }

    /// With an append-only file that has every write before it is acked.
    pub(crate) fn durable() -> Redis {
        Redis::with(&[("appendonly", "yes"), ("appendfsync", "always")])
    }

    /// With these settings, each named as in the file of settings.
    pub(crate) fn with(settings: &[(&str, &str)]) -> Redis {
        Redis::at(free_port(), settings)
    }

    /// With TLS for the nodes, and these settings.
    pub(crate) fn with_tls(certificates: &Certificates, settings: &[(&str, &str)]) -> Redis {
        let port = free_port();
        let of_tls = certificates.settings(port);
        let of_tls = of_tls.iter().map(|(name, value)| (&**name, &**value));
        let all: Vec<_> = of_tls.chain(settings.iter().copied()).collect();
        Redis::on(free_port(), Some(port), &all)
    }

    /// On this port.
    pub(crate) fn at(port: u16, settings: &[(&str, &str)]) -> Redis {
        Redis::on(port, None, settings)
    }

    fn on(port: u16, tls_port: Option<u16>, settings: &[(&str, &str)]) -> Redis {
        static DIRECTORIES: AtomicU32 = AtomicU32::new(0);
        let number = DIRECTORIES.fetch_add(1, Ordering::Relaxed);
        let name = format!("threadcast-redis-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let _old = fs::remove_dir_all(&directory);
        let password = settings.iter().find(|(name, _)| *name == "requirepass");
        let redis = Redis {
            port,
            tls_port,
            directory,
            password: Mutex::new(password.map(|(_, secret)| (*secret).to_owned())),
            flags: settings
                .iter()
                .map(|(name, value)| (format!("--{name}"), (*value).to_owned()))
                .collect(),
            process: Process::default(),
        };
        redis.spawn();
        redis
    }

    /// A replica of `primary` that has everything.
    pub(crate) fn replica_of(primary: &Redis) -> Redis {
        let port = primary.port.to_string();
        let replica = Redis::with(&[("replicaof", &format!("127.0.0.1 {port}"))]);
        within(START_LIMIT, "the replica follows its primary", || {
            replica.info("replication", "master_link_status") == "up"
        });
        replica
    }

    /// Makes a replica a primary. Until then it has all that `primary` has taken.
    pub(crate) fn promote(&self, primary: &Redis) {
        self.await_replicated(primary);
        self.command(&["REPLICAOF", "NO", "ONE"]);
    }

    /// Waits until it has all that `primary` has taken.
    pub(crate) fn await_replicated(&self, primary: &Redis) {
        let offset = |redis: &Redis| redis.info("replication", "master_repl_offset");
        let end: u64 = offset(primary).parse().expect("an offset");
        within(START_LIMIT, "the replica has every write", || {
            offset(self).parse::<u64>().expect("an offset") >= end
        });
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Where nodes connect to.
    pub(crate) fn node_addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.tls_port.unwrap_or(self.port)).into()
    }

    /// The URL for a node that connects to `addr`, with the password if there is one.
    pub(crate) fn url_at(&self, addr: SocketAddr) -> String {
        let scheme = match self.tls_port {
            Some(_) => "rediss",
            None => "redis",
        };
        match self.password() {
            Some(password) => format!("{scheme}://:{password}@{addr}"),
            None => format!("{scheme}://{addr}"),
        }
    }

    pub(crate) fn url(&self) -> String {
        self.url_at(self.node_addr())
    }

    /// Its answer to a command, on a connection of its own.
    #[track_caller]
    pub(crate) fn command(&self, words: &[&str]) -> Answer {
        self.try_command(words)
            .unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    pub(crate) fn try_command(&self, words: &[&str]) -> io::Result<Answer> {
        RespClient::ask(self.addr(), self.password().as_deref(), words)
    }

    /// A field of `INFO`.
    pub(crate) fn info(&self, section: &str, field: &str) -> String {
        let answer = self.command(&["INFO", section]);
        let mut lines = answer.text().lines();
        let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value
            .unwrap_or_else(|| panic!("no {field} in {answer:?}"))
            .to_owned()
    }

    /// All its keys.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys = self.command(&["KEYS", "*"]).texts();
        keys.sort();
        keys
    }

    /// How many connections of a type it has: `normal` or `pubsub`.
    pub(crate) fn clients(&self, kind: &str) -> usize {
        let clients = self.command(&["CLIENT", "LIST", "TYPE", kind]);
        clients.text().lines().count()
    }

    /// Ends the connections of a type: `normal` or `pubsub`.
    pub(crate) fn kill_clients(&self, kind: &str) -> i64 {
        self.command(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"])
            .number()
    }

    /// Changes a setting of the running server.
    pub(crate) fn set(&self, setting: &str, value: &str) {
        self.command(&["CONFIG", "SET", setting, value]);
        if setting == "requirepass" {
            *self.password.lock().expect("no panic under the lock") = Some(value.to_owned());
        }
    }

    /// Makes snapshots fail: Redis refuses writes then (`MISCONF`).
    pub(crate) fn break_saving(&self) {
        // A directory in the place of the file.
        let obstacle = self.directory.join("dump.rdb").join("obstacle");
        fs::create_dir_all(obstacle).expect("a directory");
        self.set("save", "3600 100000000");
        self.await_save("err");
    }

    /// Lets snapshots succeed again.
    pub(crate) fn mend_saving(&self) {
        fs::remove_dir_all(self.directory.join("dump.rdb")).expect("an obstacle");
        self.await_save("ok");
    }

    fn await_save(&self, status: &str) {
        within(START_LIMIT, "a snapshot", || {
            let _under_way = self.try_command(&["BGSAVE"]);
            self.info("persistence", "rdb_last_bgsave_status") == status
        });
    }

    fn password(&self) -> Option<String> {
        let password = self.password.lock().expect("no panic under the lock");
        password.clone()
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub(crate) fn kill(&self) {
        self.process.kill();
    }

    /// Stops it (SIGSTOP): its sockets stay open and nothing is answered. Does nothing if it was killed.
    pub(crate) fn pause(&self) {
        if self.is_running() {
            self.process.signal(Signal::SIGSTOP);
        }
    }

    /// Lets it go on (SIGCONT).
    pub(crate) fn proceed(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// Whether it was not killed; it may be stopped.
    pub(crate) fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// Starts it again on the same port, with what its files hold.
    pub(crate) fn restart(&self) {
        self.kill();
        self.spawn();
    }

    /// Starts it again on the same port, with nothing.
    pub(crate) fn restart_empty(&self) {
        self.kill();
        fs::remove_dir_all(&self.directory).expect("its directory");
        self.spawn();
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Like [`Redis::restart`], but returns when it answers that it is still loading its file.
    pub(crate) fn restart_loading(&self) {
        self.kill();
        self.launch();
        within(START_LIMIT, "Redis loads its file", || {
            self.assert_running();
            let asked = self.try_command(&["PING"]);
            asked.is_err_and(|error| error.to_string().starts_with("LOADING"))
        });
    }

    fn spawn(&self) {
        self.launch();
        within(START_LIMIT, "Redis answers", || {
            self.assert_running();
            self.try_command(&["PING"]).is_ok()
        });
    }

    fn launch(&self) {
        fs::create_dir_all(&self.directory).expect("a directory");
        self.process.launch(|command| {
            command
                .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
                .args(["--save", "", "--logfile", "redis.log", "--dir"])
                .arg(&self.directory)
                .args(self.flags.iter().flat_map(words));
        });
    }

    fn assert_running(&self) {
        if let Some(status) = self.process.ended() {
            let log = fs::read_to_string(self.directory.join("redis.log")).unwrap_or_default();
            panic!("Redis has ended: {status}\n{log}");
        }
    }
}

/// A setting as arguments: each word of its value is one.
fn words((flag, value): &(String, String)) -> impl Iterator<Item = &str> {
    std::iter::once(flag.as_str()).chain(value.split_whitespace())
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        let _gone = fs::remove_dir_all(&self.directory);
    }
}
