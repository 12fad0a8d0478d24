//! The servers that are compared, and the settings they run with: in memory, without limits that this load would reach,
//! everything else as it comes.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use threadcast::client::Client;

use super::Failure;
use super::line::{Nats, Redis};
use super::mqtt::Mqtt;
use super::process::{Place, ServerProcess, find};
use super::websocket::{Nchan, Threadcast};
use super::wire::{TOPIC, Wire};

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
    pub(crate) const ALL: [Peer; 5] = [
        Peer::Threadcast,
        Peer::Redis,
        Peer::Nats,
        Peer::Nchan,
        Peer::Mosquitto,
    ];

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

    pub(crate) fn wire(self) -> Box<dyn Wire> {
        match self {
            Peer::Threadcast => Box::new(Threadcast),
            Peer::Redis => Box::new(Redis),
            Peer::Nats => Box::new(Nats),
            Peer::Nchan => Box::new(Nchan),
            Peer::Mosquitto => Box::new(Mqtt),
        }
    }

    /// Starts the server on a free port of the loopback.
    pub(crate) fn start(self) -> Result<ServerProcess, Failure> {
        let place = Place::new()?;
        let mut command = Command::new(self.program().ok_or("it is not installed")?);
        let port = place.address.port().to_string();
        match self {
            Peer::Threadcast => {
                for (name, _) in std::env::vars_os() {
                    if name.to_string_lossy().starts_with("PUBSUB_") {
                        command.env_remove(name);
                    }
                }
                command.args(["--port", &port, "--max-queue-size", "100000"]);
            }
            Peer::Redis => {
                command.args(["--port", &port, "--bind", "127.0.0.1"]);
                command.args(["--save", "", "--maxclients", "5000"]);
            }
            Peer::Nats => {
                command.args(["--addr", "127.0.0.1", "--port", &port]);
            }
            Peer::Nchan => {
                let file = place.write(&nchan_settings(&place))?;
                command.arg("-p").arg(&place.folder).arg("-c").arg(file);
                command.args(["-e", "stderr"]);
            }
            Peer::Mosquitto => {
                let settings = format!(
                    "listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n\
                     max_queued_messages 0\n"
                );
                command.arg("-c").arg(place.write(&settings)?);
            }
        }
        let server = ServerProcess::start(&mut command, place)?;
        if self == Peer::Threadcast {
            create_topic(&server)?;
        }
        Ok(server)
    }
}

/// One worker, as the others are one process too.
fn nchan_settings(place: &Place) -> String {
    let address = place.address;
    let folder = place.folder.display();
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

fn create_topic(server: &ServerProcess) -> Result<(), Failure> {
    let client = Client::connect(&format!("http://{}", server.address()))?;
    Ok(client.create_topic(TOPIC)?)
}
