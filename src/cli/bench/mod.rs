//! `threadcast bench`: puts load on a server, checks every event of it, and tells how fast it was.
//!
//! Built on the client library, as a program of its users would be: the figures are what such a program sees. What it
//! tells about losses it finds out by numbers of its own in every payload, not only by those of the server.

mod connections;
mod halt;
mod histogram;
mod ledger;
mod meter;
mod payload;
mod progress;
mod reader;
mod report;
mod server;
mod topics;
mod traffic;

use std::time::Duration;

use clap::{Args, ValueEnum};
use threadcast::client::{Client, Reconnect};
use threadcast::config::OverflowPolicy;

use super::error::CliError;
use super::output;
use super::server_args::presented;
use super::settings::overflow;
use super::value::{self, Seconds, Secret};
use halt::Halt;
use meter::Meter;
use report::{Report, SceneReport};
use server::OwnServer;

const EXAMPLES: &str = "Examples:
  threadcast bench                                    all scenes, on a server of its own
  threadcast bench --quick                            the same in a few seconds: does it work?
  threadcast bench --scene fan-out --subscribers 200 --duration 30
  threadcast bench --url ws://10.0.0.7:8080/ws --scene latency --rate 500 --json

Exit codes: 0 measured, and every event was delivered or told, 1 the server is gone or said no, 2 the command
line is wrong, 4 an event was lost untold, doubled, out of order or foreign, 130 interrupted.";

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

    /// The policy of its topics: with block nothing is dropped, and the slowest subscriber sets the pace
    #[arg(long, value_name = "POLICY", default_value_t = OverflowPolicy::Block)]
    #[arg(value_parser = overflow())]
    overflow: OverflowPolicy,

    /// Print one JSON document in place of the table
    #[arg(long)]
    json: bool,

    /// A running server, such as ws://example.org:8080/ws; no variable stands for it [default: one of its own]
    #[arg(long, value_name = "URL", help_heading = "Server")]
    url: Option<String>,

    /// Key to present to it; everyone on this machine sees a flag (ps), so rather set the variable
    /// [default: that of PUBSUB_API_KEY]
    #[arg(long, env = "PUBSUB_KEY", value_name = "KEY", help_heading = "Server")]
    #[arg(value_parser = value::secret())]
    key: Option<Secret>,
}

/// Where the load goes.
struct Bed<'a> {
    client: &'a Client,
    meter: Meter,
    halt: &'a Halt,
    overflow: OverflowPolicy,
    payload_bytes: usize,
    duration: Duration,
}

/// Runs the scenes, and tells what they came to, also when a check has failed.
pub(super) fn run(bench: &Bench) -> Result<(), CliError> {
    let halt = Halt::install()?;
    server::allow_all_descriptors();
    let own = match &bench.url {
        Some(_) => None,
        None => Some(OwnServer::start()?),
    };
    let url = own.as_ref().map(|own| own.url().to_owned());
    let url = url.or_else(|| bench.url.clone()).unwrap_or_default();
    // A connection that is lost is the end: figures of what comes after it would mean nothing.
    let client = Client::builder(&url).reconnect(Reconnect::Never);
    let client = match presented(bench.key.as_ref()).filter(|_| own.is_none()) {
        Some(key) => client.key(&key),
        None => client,
    };
    let client = client.connect()?;
    let bed = Bed {
        client: &client,
        meter: Meter::of(own.as_ref().map(OwnServer::pid)),
        halt: &halt,
        overflow: bench.overflow,
        payload_bytes: bench.payload_bytes,
        duration: bench.duration(),
    };
    let mut report = Report::new(&url, own.is_some());
    let outcome = measure(bench, &bed, &mut report);
    drop(client);
    if let Some(own) = own {
        own.stop();
    }
    halt.outcome()?;
    outcome?;
    let text = match bench.json {
        true => format!("{}\n", report.json().map_err(CliError::failed)?),
        false => report.table(),
    };
    output::write(text)?;
    report.verdict()
}

/// One scene after the other, up to the first with a broken promise.
fn measure(bench: &Bench, bed: &Bed<'_>, report: &mut Report) -> Result<(), CliError> {
    let scenes = match bench.scene.as_slice() {
        [] => Scene::value_variants(),
        chosen => chosen,
    };
    for scene in scenes {
        if bed.halt.is_called() || report.is_broken() {
            break;
        }
        report.add(bench.scene(*scene, bed)?);
    }
    Ok(())
}

impl Bench {
    fn duration(&self) -> Duration {
        let usual = if self.quick { 500 } else { 5_000 };
        let given = self.duration.map(|seconds| seconds.0);
        given.unwrap_or(Duration::from_millis(usual))
    }

    fn size(&self, given: Option<usize>, usual: usize, quick: usize) -> usize {
        given.unwrap_or(if self.quick { quick } else { usual })
    }

    fn scene(&self, scene: Scene, bed: &Bed<'_>) -> Result<SceneReport, CliError> {
        let fast = traffic::Pace::Window(self.window);
        match scene {
            Scene::FanOut => {
                let subscribers = self.size(self.subscribers, 50, 10);
                traffic::run("fan-out", 1, subscribers, fast, bed)
            }
            Scene::Latency => {
                traffic::run("latency", 1, 1, traffic::Pace::PerSecond(self.rate), bed)
            }
            Scene::ManyTopics => {
                let topics = self.size(self.topics, 500, 50);
                traffic::run("many-topics", topics, topics.min(8), fast, bed)
            }
            Scene::Connections => {
                let connections = self.size(self.connections, 1000, 100);
                connections::run(connections, bed)
            }
        }
    }
}
