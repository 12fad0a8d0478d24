//! The servers under test, each a child process on a free port of the loopback: a Redis and its nodes, a server without Redis,
//! or a Redis alone.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, io, thread};

use threadcast::client::Client;
use threadcast::load::{self, Connection, Failure, ServerProcess};

use super::figures::Figures;
use super::load::Outcome;
use super::load::protocol::TOPIC;

const REDIS: &str = "redis-server";
const READY_DEADLINE: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Servers that work together. Ended when dropped, the nodes before their Redis.
#[derive(Debug)]
pub(crate) struct Servers {
    threadcasts: Vec<ServerProcess>,
    redis: Option<ServerProcess>,
}

/// Processor time of servers so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cpu {
    pub(crate) threadcasts: Vec<Duration>,
    pub(crate) redis: Duration,
}

impl Servers {
    /// One server without Redis.
    pub(crate) fn embedded(flags: &[&str]) -> Result<Servers, Failure> {
        let server = start_threadcast(flags)?;
        Ok(Servers {
            threadcasts: vec![server],
            redis: None,
        })
    }

    /// So many nodes over a Redis. Returns when all are ready.
    pub(crate) fn nodes(count: usize, flags: &[&str]) -> Result<Servers, Failure> {
        let redis = start_redis()?;
        let url = format!("redis://{}", redis.address());
        let flags = [&["--redis-url", &url], flags].concat();
        let nodes = (0..count).map(|_| start_threadcast(&flags));
        let servers = Servers {
            threadcasts: nodes.collect::<Result<_, _>>()?,
            redis: Some(redis),
        };
        for at in 0..count {
            wait_until_ready(servers.address(at))?;
        }
        Ok(servers)
    }

    /// A Redis without nodes.
    pub(crate) fn redis() -> Result<Servers, Failure> {
        Ok(Servers {
            threadcasts: Vec::new(),
            redis: Some(start_redis()?),
        })
    }

    /// Creates the topic of all measurements.
    pub(crate) fn with_topic(self) -> Result<Servers, Failure> {
        self.client()?.create_topic(TOPIC)?;
        Ok(self)
    }

    /// A client of the first server's REST interface.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(Client::connect(&format!("http://{}", self.address(0)))?)
    }

    /// Where the server of this number listens. The numbers go round; a Redis alone has all of them.
    pub(crate) fn address(&self, at: usize) -> SocketAddr {
        match (&self.threadcasts[..], &self.redis) {
            ([], Some(redis)) => redis.address(),
            (servers, _) => servers[at % servers.len()].address(),
        }
    }

    pub(crate) fn redis_address(&self) -> Option<SocketAddr> {
        self.redis.as_ref().map(ServerProcess::address)
    }

    pub(crate) fn cpu(&self) -> Result<Cpu, Failure> {
        let of = |server: &ServerProcess| {
            let cpu = server.cpu();
            cpu.ok_or("this system does not tell the processor time of a process")
        };
        Ok(Cpu {
            threadcasts: self.threadcasts.iter().map(of).collect::<Result<_, _>>()?,
            redis: self.redis.as_ref().map(of).transpose()?.unwrap_or_default(),
        })
    }

    /// Runs a load that publishes so many events, and adds what it took of the servers.
    pub(crate) fn measure(
        &self,
        events: u64,
        run: impl FnOnce() -> Result<Outcome, Failure>,
    ) -> Result<Figures, Failure> {
        let before = self.cpu()?;
        let (outcome, usage) = load::measure(None, run);
        let cpu = self.cpu()?.since(&before);
        Ok(Figures::new(events, &outcome?, &cpu, usage.own_cpu))
    }

    /// Stops the servers. One that does not end well is a failure.
    pub(crate) fn stop(self) -> Result<(), Failure> {
        for server in self.threadcasts {
            server.stop()?;
        }
        self.redis.map_or(Ok(()), ServerProcess::stop)
    }
}

impl Cpu {
    pub(crate) fn since(&self, before: &Cpu) -> Cpu {
        let pairs = self.threadcasts.iter().zip(&before.threadcasts);
        Cpu {
            threadcasts: pairs
                .map(|(now, before)| now.saturating_sub(*before))
                .collect(),
            redis: self.redis.saturating_sub(before.redis),
        }
    }
}

/// What the installed Redis says of itself.
pub(crate) fn redis_version() -> Result<String, Failure> {
    let output = Command::new(REDIS).arg("--version").output();
    let output = output.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("{REDIS} is not installed; this benchmark measures nodes over Redis")
        }
        _ => format!("{REDIS}: {error}"),
    })?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().find_map(|w| w.strip_prefix("v="));
    Ok(format!("Redis {}", version.unwrap_or("of unknown version")))
}

fn start_redis() -> Result<ServerProcess, Failure> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let port = address.port().to_string();
    let mut command = Command::new(REDIS);
    command.current_dir(env::temp_dir());
    command.args(["--port", &port, "--bind", "127.0.0.1", "--save", ""]);
    ServerProcess::start_at(&mut command, address)
}

fn start_threadcast(flags: &[&str]) -> Result<ServerProcess, Failure> {
    let mut command = ServerProcess::threadcast(env!("CARGO_BIN_EXE_threadcast"));
    ServerProcess::start_threadcast(command.args(flags))
}

fn wait_until_ready(server: SocketAddr) -> Result<(), Failure> {
    let started = Instant::now();
    loop {
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {server}\r\n\r\n");
        let head = Connection::open(server, None)?.exchange(request.as_bytes(), b"\r\n\r\n")?;
        if head.starts_with(b"HTTP/1.1 200") {
            return Ok(());
        }
        if started.elapsed() > READY_DEADLINE {
            let head = String::from_utf8_lossy(&head).into_owned();
            return Err(format!("a node does not become ready: {head}").into());
        }
        thread::sleep(POLL_INTERVAL);
    }
}
