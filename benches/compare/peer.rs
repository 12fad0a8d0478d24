//! The servers that are compared, and the settings they run with: in memory, without limits that this load would reach,
//! everything else as it comes.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, io, process};

use clap::ValueEnum;
use threadcast::client::Client;
use threadcast::load::{Failure, ServerProcess};

use super::lines::{Nats, Redis};
use super::load::protocol::{Protocol, TOPIC};
use super::load::threadcast::WebSocket;
use super::mqtt::Mqtt;
use super::nchan::Nchan;

/// Where Debian and others put the module.
const NCHAN_MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// A server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// This one: JSON over WebSocket
    Threadcast,
    /// Redis: RESP over TCP
    Redis,
    /// NATS: its own protocol over TCP
    Nats,
    /// Nchan, a module of nginx: WebSocket, published with HTTP
    Nchan,
    /// Mosquitto: MQTT over TCP
    Mosquitto,
}

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::Threadcast => "threadcast",
            Peer::Redis => "redis",
            Peer::Nats => "nats",
            Peer::Nchan => "nchan",
            Peer::Mosquitto => "mosquitto",
        }
    }

    fn program(self) -> Option<PathBuf> {
        match self {
            Peer::Threadcast => Some(env!("CARGO_BIN_EXE_threadcast").into()),
            Peer::Redis => find("redis-server"),
            Peer::Nats => find("nats-server"),
            Peer::Nchan => find("nginx").filter(|_| Path::new(NCHAN_MODULE).is_file()),
            Peer::Mosquitto => find("mosquitto"),
        }
    }

    pub(crate) fn is_installed(self) -> bool {
        self.program().is_some()
    }

    pub(crate) fn protocol(self) -> &'static dyn Protocol {
        match self {
            Peer::Threadcast => &WebSocket,
            Peer::Redis => &Redis,
            Peer::Nats => &Nats,
            Peer::Nchan => &Nchan,
            Peer::Mosquitto => &Mqtt,
        }
    }

    /// Starts the server on a free port of the loopback. The folder must outlive it.
    pub(crate) fn start(self, folder: &Folder) -> Result<ServerProcess, Failure> {
        let program = self.program().ok_or("it is not installed")?;
        if self == Peer::Threadcast {
            return start_threadcast(program);
        }
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let port = address.port().to_string();
        let mut command = Command::new(program);
        command.current_dir(&folder.0);
        match self {
            Peer::Threadcast => {}
            Peer::Redis => {
                command.args(["--port", &port, "--bind", "127.0.0.1"]);
                command.args(["--save", "", "--maxclients", "5000"]);
            }
            Peer::Nats => {
                command.args(["--addr", "127.0.0.1", "--port", &port]);
            }
            Peer::Nchan => {
                let settings = nchan_settings(address, &folder.0);
                command.arg("-p").arg(&folder.0);
                command.arg("-c").arg(folder.write(&settings)?);
                command.args(["-e", "stderr"]);
            }
            Peer::Mosquitto => {
                let settings = format!(
                    "listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n\
                     max_queued_messages 0\n"
                );
                command.arg("-c").arg(folder.write(&settings)?);
            }
        }
        ServerProcess::start_at(&mut command, address)
    }
}

fn start_threadcast(program: PathBuf) -> Result<ServerProcess, Failure> {
    let mut command = ServerProcess::threadcast(program);
    command.args(["--max-queue-size", "100000"]);
    let server = ServerProcess::start_threadcast(&mut command)?;
    let client = Client::connect(&format!("http://{}", server.address()))?;
    client.create_topic(TOPIC)?;
    Ok(server)
}

/// A folder for what a server writes; removed when dropped.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn create() -> io::Result<Folder> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("threadcast-compare-{}-{number}", process::id());
        let folder = Folder(env::temp_dir().join(name));
        fs::create_dir(&folder.0)?;
        // A server that gives up root's rights writes here, too.
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o777))?;
        Ok(folder)
    }

    /// Writes a configuration and returns its path.
    fn write(&self, text: &str) -> io::Result<PathBuf> {
        let file = self.0.join("server.conf");
        fs::write(&file, text)?;
        Ok(file)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in a temporary folder does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Where a program is, among the folders of `PATH` and those that hold servers.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// One worker, as the others are one process too.
fn nchan_settings(address: SocketAddr, folder: &Path) -> String {
    let folder = folder.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};"))
        .concat();
    format!(
        "load_module {NCHAN_MODULE};\ndaemon off;\npid {folder}/pid;\nworker_processes 1;\n\
         events {{ worker_connections 5000; }}\n\
         http {{ access_log off; {temporary} keepalive_requests 1000000000;\n\
         server {{ listen {address};\n\
         location = /publish/{TOPIC} {{ nchan_publisher http; nchan_channel_id {TOPIC}; }}\n\
         location = /subscribe/{TOPIC} {{ nchan_subscriber websocket; nchan_channel_id {TOPIC};\n\
         nchan_subscriber_first_message newest; }} }} }}\n"
    )
}
