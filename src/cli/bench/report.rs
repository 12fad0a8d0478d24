//! The results of all scenes, as a table or one JSON document.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use threadcast::load::{Latencies, Usage};

use super::reader::{Counts, Problem};
use crate::cli::error::CliError;

/// All scenes.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: &'static str,
    server: ServerLine,
    /// Whether every event was delivered once and in order, or reported as a gap.
    ok: bool,
    scenes: Vec<SceneReport>,
}

#[derive(Debug, Serialize)]
struct ServerLine {
    url: String,
    /// Whether this program has started it.
    started: bool,
}

/// One scene.
#[derive(Debug, Serialize)]
pub(super) struct SceneReport {
    scene: &'static str,
    topics: usize,
    subscribers: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connections: Option<Opened>,
    #[serde(flatten)]
    figures: Option<Figures>,
    /// Each promise that the server has broken.
    broken: Vec<String>,
    #[serde(skip)]
    failed: Option<String>,
}

/// How the connections of a scene were opened.
#[derive(Debug, Serialize)]
pub(super) struct Opened {
    opened: usize,
    seconds: f64,
    per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_bytes_each: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Figures {
    seconds: f64,
    published: u64,
    deliveries: u64,
    told_as_gaps: u64,
    published_per_second: f64,
    deliveries_per_second: f64,
    latency_us: Latency,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_cpu_us_per_delivery: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_cpu_percent: Option<f64>,
    bench_cpu_percent: f64,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Latency {
    fn new(latencies: &Latencies) -> Latency {
        let at = |share| latencies.quantile_micros(share);
        Latency {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
        }
    }
}

impl Opened {
    /// `server_bytes` is by how much the memory of the server grew.
    pub(super) fn new(opened: usize, took: Duration, server_bytes: Option<u64>) -> Opened {
        Opened {
            opened,
            seconds: took.as_secs_f64(),
            per_second: opened as f64 / took.as_secs_f64(),
            server_bytes_each: server_bytes.map(|bytes| bytes / opened as u64),
        }
    }
}

impl SceneReport {
    pub(super) fn new(scene: &'static str, topics: usize, subscribers: usize) -> SceneReport {
        SceneReport {
            scene,
            topics,
            subscribers,
            connections: None,
            figures: None,
            broken: Vec::new(),
            failed: None,
        }
    }

    /// Adds the figures; `untimed` deliveries came before the clocks ran.
    pub(super) fn add_figures(
        &mut self,
        published: u64,
        counts: &Counts,
        untimed: u64,
        usage: Usage,
    ) {
        let seconds = usage.wall.as_secs_f64().max(1e-9);
        let deliveries = counts.received.saturating_sub(untimed);
        let server = usage.server_cpu.map(|time| time.as_secs_f64());
        self.figures = Some(Figures {
            seconds,
            published,
            deliveries,
            told_as_gaps: counts.reported_as_gaps,
            published_per_second: published as f64 / seconds,
            deliveries_per_second: deliveries as f64 / seconds,
            latency_us: Latency::new(&counts.latencies),
            server_cpu_us_per_delivery: server.map(|time| time * 1e6 / deliveries.max(1) as f64),
            server_cpu_percent: server.map(|time| time * 100.0 / seconds),
            bench_cpu_percent: usage.own_cpu.as_secs_f64() * 100.0 / seconds,
        });
    }

    /// Of several failures the first one is kept.
    pub(super) fn add_problem(&mut self, problem: Problem) {
        match problem {
            Problem::Broken(what) => self.broken.push(what),
            Problem::Failed(what) => {
                self.failed.get_or_insert(what);
            }
        }
    }

    /// A broken promise is a result; a scene with another failure has none.
    pub(super) fn outcome(self) -> Result<SceneReport, CliError> {
        match self.failed {
            Some(what) if self.broken.is_empty() => Err(CliError::failed(what)),
            _ => Ok(self),
        }
    }
}

impl Report {
    pub(super) fn new(url: &str, started: bool) -> Report {
        Report {
            version: env!("CARGO_PKG_VERSION"),
            server: ServerLine {
                url: url.to_owned(),
                started,
            },
            ok: true,
            scenes: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, scene: SceneReport) {
        self.ok &= scene.broken.is_empty();
        self.scenes.push(scene);
    }

    pub(super) fn is_broken(&self) -> bool {
        !self.ok
    }

    pub(super) fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// Fails with the first broken promise.
    pub(super) fn verdict(&self) -> Result<(), CliError> {
        let broken = self.scenes.iter().flat_map(|scene| {
            let line = |what| format!("{}: {what}", scene.scene);
            scene.broken.iter().map(line)
        });
        let broken: Vec<String> = broken.collect();
        match broken.as_slice() {
            [] => Ok(()),
            [first] => Err(CliError::broken(first)),
            [first, others @ ..] => Err(CliError::broken(format!(
                "{first} (and {} more)",
                others.len()
            ))),
        }
    }

    pub(super) fn table(&self) -> String {
        let server = if self.server.started {
            "a server of its own"
        } else {
            &self.server.url
        };
        let mut out = format!("threadcast {}, {server}\n\n", self.version);
        let _ = writeln!(
            out,
            "{:<24} {:>11} {:>12} {:>9} {:>9} {:>9}",
            "", "published/s", "deliveries/s", "gaps", "p50", "p99"
        );
        for scene in &self.scenes {
            scene.write(&mut out);
        }
        let verdict = if self.ok {
            "Every event was delivered once and in order, or told as a gap."
        } else {
            "THE SERVER HAS BROKEN ITS PROMISE."
        };
        let _ = writeln!(out, "\n{verdict}");
        out
    }
}

impl SceneReport {
    fn write(&self, out: &mut String) {
        let what = match (self.topics, self.subscribers) {
            (1, subscribers) => format!("{} 1 → {subscribers}", self.scene),
            (topics, _) => format!("{} {topics}", self.scene),
        };
        let Some(figures) = &self.figures else {
            let _ = writeln!(out, "{what:<24} no figures");
            return;
        };
        let latency = &figures.latency_us;
        let _ = writeln!(
            out,
            "{what:<24} {:>11.0} {:>12.0} {:>9} {:>9} {:>9}",
            figures.published_per_second,
            figures.deliveries_per_second,
            figures.told_as_gaps,
            time(latency.p50),
            time(latency.p99),
        );
        let _ = write!(
            out,
            "    p99.9 {}, max {}",
            time(latency.p999),
            time(latency.max)
        );
        if let Some(micros) = figures.server_cpu_us_per_delivery {
            let _ = write!(out, ", server CPU {micros:.2} µs a delivery");
        }
        let _ = writeln!(out, ", bench CPU {:.0} %", figures.bench_cpu_percent);
        if let Some(connections) = &self.connections {
            let _ = write!(
                out,
                "    {} connections opened in {:.2} s, {:.0} a second",
                connections.opened, connections.seconds, connections.per_second
            );
            if let Some(bytes) = connections.server_bytes_each {
                let kib = bytes as f64 / 1024.0;
                let _ = write!(out, ", {kib:.1} KiB of memory each");
            }
            out.push('\n');
        }
    }
}

fn time(micros: f64) -> String {
    if micros < 10_000.0 {
        format!("{micros:.0} µs")
    } else {
        format!("{:.1} ms", micros / 1000.0)
    }
}
