//! `threadcast bench`: puts load on a server, checks every event, and reports how fast it was.
//!
//! Built on the client library: the figures are what a program of its users sees. Losses are found by numbers in the payloads,
//! not only by those of the server.

mod cancel;
mod progress;
mod publisher;
mod reader;
mod report;
mod scene;
mod topics;

use std::env;
use std::os::unix::process::CommandExt;
use std::process;
use std::time::Duration;

use clap::{Args, ValueEnum};
use threadcast::client::{Client, Reconnect};
use threadcast::config::OverflowPolicy;
use threadcast::load::{ServerProcess, raise_descriptor_limit};

use super::error::CliError;
use super::output;
use super::serve;
use super::server_args::{Authorities, at_most_one, presented};
use super::settings::overflow;
use super::value::{self, Seconds, Secret};
use cancel::Cancel;
use publisher::Pace;
use report::Report;
use scene::Plan;

/// Broadcasts of the scene `connections`.
const BROADCASTS: u64 = 10;

const EXAMPLES: &str = "Examples:
  threadcast bench                                    all scenes, on a server of its own
  threadcast bench --quick                            the same in a few seconds: does it work?
  threadcast bench --scene fan-out --subscribers 200 --duration 30
  threadcast bench --url ws://10.0.0.7:8080/ws --scene latency --rate 500 --json

Exit codes: 0 measured, and every event was delivered or reported as a gap, 1 the server is gone or refused, 2 the command
line is wrong, 4 an event was lost without a gap, doubled, out of order or foreign, 130 interrupted.";

/// What the scenes are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scene {
    /// One publisher, many subscribers, as fast as it goes
    FanOut,
    /// One publisher, one subscriber, at a steady rate
    Latency,
    /// One publisher, many topics, as fast as it goes
    ManyTopics,
    /// Many connections, and a few broadcasts to all of them
    Connections,
}

/// What is measured, where, and how large.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Bench {
    /// Only this scene; may be given several times [default: all of them]
    #[arg(long, value_name = "SCENE", value_enum)]
    scene: Vec<Scene>,

    /// Everything small and short: shows that it works, not how fast it is
    #[arg(long)]
    quick: bool,

    /// How long each scene publishes [default: 5, or 0.5 with --quick]
    #[arg(long, value_name = "SECONDS")]
    #[arg(value_parser = value::seconds(Duration::from_millis(100)..=Duration::from_secs(86_400)))]
    duration: Option<Seconds>,

    /// Subscribers of fan-out [default: 50, or 10 with --quick]
    #[arg(long, value_name = "N", value_parser = value::number(1..=10_000_usize))]
    subscribers: Option<usize>,

    /// Messages a second of latency
    #[arg(long, value_name = "R", default_value_t = 1000.0, value_parser = value::rate())]
    rate: f64,

    /// Topics of many-topics [default: 500, or 50 with --quick]
    #[arg(long, value_name = "N", value_parser = value::number(1..=100_000_usize))]
    topics: Option<usize>,

    /// Connections of connections [default: 1000, or 100 with --quick]
    #[arg(long, value_name = "N", value_parser = value::number(1..=100_000_usize))]
    connections: Option<usize>,

    /// Messages in flight between publisher and server, of fan-out and many-topics
    #[arg(long, value_name = "N", default_value_t = 256)]
    #[arg(value_parser = value::number(1..=100_000_usize))]
    window: usize,

    /// Size of a payload; below some 40 bytes there is no room for less
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    #[arg(value_parser = value::number(0..=1_048_576_usize))]
    payload_bytes: usize,

    /// The policy of its topics: with block nothing is dropped, and the slowest subscriber sets the pace [default: block; on a
    /// node of a cluster, which refuses it, drop_oldest]
    #[arg(long, value_name = "POLICY")]
    #[arg(value_parser = overflow())]
    overflow: Option<OverflowPolicy>,

    /// Print one JSON document in place of the table
    #[arg(long)]
    json: bool,

    /// A running server, such as ws://example.org:8080/ws; no variable stands for it [default: one of its own]
    #[arg(
        long,
        value_name = "URL",
        value_delimiter = ',',
        help_heading = "Server"
    )]
    url: Vec<String>,

    #[command(flatten)]
    authorities: Authorities,

    /// Key to present to it; everyone on this machine sees a flag (ps), so rather set the variable
    /// [default: that of PUBSUB_API_KEY]
    #[arg(long, env = "PUBSUB_KEY", value_name = "KEY", help_heading = "Server")]
    #[arg(value_parser = value::secret())]
    key: Option<Secret>,
}

/// What every scene needs.
struct Setup<'a> {
    client: &'a Client,
    /// Only one that was started here.
    server: Option<&'a ServerProcess>,
    cancel: &'a Cancel,
    overflow: OverflowPolicy,
    payload_bytes: usize,
    duration: Duration,
}

impl Setup<'_> {
    fn server_bytes(&self) -> Option<u64> {
        self.server.and_then(ServerProcess::resident_bytes)
    }
}

/// Runs the scenes and prints their report, also when a check has failed.
pub(super) fn run(bench: &Bench) -> Result<(), CliError> {
    at_most_one(&bench.url, "--url", "bench")?;
    let cancel = Cancel::on_signal()?;
    // If it is refused, the scene that needs more fails.
    let _ = raise_descriptor_limit();
    let own = match bench.url.first() {
        Some(_) => None,
        None => Some(start_server()?),
    };
    let url = match (&own, bench.url.first()) {
        (Some(own), _) => format!("ws://{}/ws", own.address()),
        (None, url) => url.cloned().unwrap_or_default(),
    };
    // Figures across a lost connection would mean nothing.
    let client = Client::builder(&url).reconnect(Reconnect::Never);
    let client = match own {
        Some(_) => client,
        None => bench.authorities.given_to(client),
    };
    let client = match presented(bench.key.as_ref()).filter(|_| own.is_none()) {
        Some(key) => client.key(&key),
        None => client,
    };
    let client = client.connect().map_err(CliError::from)?;
    let overflow = match bench.overflow {
        Some(overflow) => overflow,
        None if client.health().map_err(CliError::from)?.is_node() => OverflowPolicy::DropOldest,
        None => OverflowPolicy::Block,
    };
    let setup = Setup {
        client: &client,
        server: own.as_ref(),
        cancel: &cancel,
        overflow,
        payload_bytes: bench.payload_bytes,
        duration: bench.duration(),
    };
    let mut report = Report::new(&url, own.is_some());
    let outcome = measure(bench, &setup, &mut report);
    drop(client);
    drop(own);
    cancel.check_signal()?;
    outcome?;
    let text = match bench.json {
        true => format!("{}\n", report.json().map_err(CliError::failed)?),
        false => report.table(),
    };
    output::write(text)?;
    report.verdict()
}

/// Starts this program as a server in another process, so that its processor time is its own. It stops when this thread ends.
fn start_server() -> Result<ServerProcess, CliError> {
    let not_started = |reason| CliError::failed(format!("the server did not start: {reason}"));
    let program = env::current_exe().map_err(|error| not_started(error.into()))?;
    let mut command = ServerProcess::threadcast(program);
    command.env(serve::PARENT, process::id().to_string());
    command.args(["--max-topics", "1000000"]);
    // Ctrl-C is for this process, which then ends the server.
    command.process_group(0);
    ServerProcess::start_threadcast(&mut command).map_err(not_started)
}

/// One scene after the other, up to the first with a broken promise.
fn measure(bench: &Bench, setup: &Setup<'_>, report: &mut Report) -> Result<(), CliError> {
    let scenes = match bench.scene.as_slice() {
        [] => Scene::value_variants(),
        chosen => chosen,
    };
    for scene in scenes {
        if setup.cancel.is_cancelled() || report.is_broken() {
            break;
        }
        report.add(scene::run(&bench.plan(*scene), setup)?);
    }
    Ok(())
}

impl Bench {
    fn duration(&self) -> Duration {
        let default = if self.quick { 500 } else { 5_000 };
        let given = self.duration.map(|seconds| seconds.0);
        given.unwrap_or(Duration::from_millis(default))
    }

    fn plan(&self, scene: Scene) -> Plan {
        let size = |given: Option<usize>, default, quick| {
            given.unwrap_or(if self.quick { quick } else { default })
        };
        let (name, topics, subscribers, pace) = match scene {
            Scene::FanOut => {
                let subscribers = size(self.subscribers, 50, 10);
                ("fan-out", 1, subscribers, Pace::Window(self.window))
            }
            Scene::Latency => ("latency", 1, 1, Pace::PerSecond(self.rate)),
            Scene::ManyTopics => {
                let topics = size(self.topics, 500, 50);
                let pace = Pace::Window(self.window);
                ("many-topics", topics, topics.min(8), pace)
            }
            Scene::Connections => {
                let connections = size(self.connections, 1000, 100);
                ("connections", 1, connections, Pace::Broadcasts(BROADCASTS))
            }
        };
        Plan {
            name,
            topics,
            subscribers,
            pace,
        }
    }
}
