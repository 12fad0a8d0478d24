//! The command line of the benchmark.

use clap::{Parser, ValueEnum};

/// Measures several threadcast servers over one Redis on this machine.
#[derive(Debug, Parser)]
#[command(name = "cluster")]
pub(crate) struct Options {
    /// Run everything small, in some seconds: shows that it works, not how fast it is
    #[arg(long)]
    pub(crate) quick: bool,
    /// Run only this scene; may be given several times
    #[arg(long, value_name = "NAME", value_enum)]
    scene: Vec<Scene>,
    /// How often each measurement is made; those of a scene take turns
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Accepted because `cargo bench` passes it
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// The scenes asked for; without a choice, all of them.
    pub(crate) fn scenes(&self) -> &[Scene] {
        match self.scene.as_slice() {
            [] => Scene::value_variants(),
            chosen => chosen,
        }
    }

    pub(crate) fn rounds(&self) -> u32 {
        if self.quick { 1 } else { self.rounds }
    }

    /// The size of a measurement.
    pub(crate) fn pick(&self, full: u64, quick: u64) -> u64 {
        if self.quick { quick } else { full }
    }
}

/// The scenes, by what they are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scene {
    /// 1 publisher, 100 subscribers, one node beside a server without Redis
    FanOut,
    /// 1 publisher, 1 subscriber, 256 events in flight, one node beside a server without Redis
    Pipeline,
    /// 1 publisher, 1 subscriber, 2000 events a second, beside PUB/SUB of Redis
    Latency,
    /// Processor time of Redis for an event at full speed, beside bare PUBLISH
    Saturated,
    /// 3 nodes, 1000 topics and 1000 subscribers that wait
    Idle,
    /// 1, 2 and 3 nodes: the publisher at the first one, the subscribers at all of them
    Nodes,
    /// 10, 1000 and 10000 topics
    Topics,
    /// 1, 10, 100 and 1000 subscribers of one node
    Subscribers,
    /// Memory of Redis for events, topics and subscriptions
    Memory,
}
