//! The command line of the benchmark.

use clap::{Parser, ValueEnum};

/// Measures a threadcast server on this machine.
#[derive(Debug, Parser)]
#[command(name = "fanout")]
pub(crate) struct Options {
    /// Run everything small, in a few seconds: shows that it works, not how fast it is
    #[arg(long)]
    pub(crate) quick: bool,
    /// Run only this scene; may be given several times
    #[arg(long, value_name = "NAME", value_enum)]
    scene: Vec<Scene>,
    /// Subscribers of the scene 'held'
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) held: u32,
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
}

/// The scenes, by what they are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scene {
    /// 1 publisher, 100 subscribers, as fast as 64 events in flight allow
    Throughput,
    /// 4 publishers, 100 subscribers, as fast as 64 events in flight allow
    Publishers,
    /// 1 publisher, 1000 subscribers, 50 events a second
    Wide,
    /// 1 publisher, 1 subscriber, 2000 events a second
    Latency,
    /// 1 publisher, 1 subscriber, as fast as 256 events in flight allow
    Pipeline,
    /// The scenes throughput and wide with event streams in the place of WebSockets, one after the other
    Streams,
    /// The scene throughput without and with 1000 patterns that match none of its topics, one after the other
    Patterns,
    /// 5000 subscribers that join at once: while nobody watches who is subscribed, 10 or 100 clients do, or all of them
    Presence,
    /// Thousands of subscribers that wait, and one broadcast to all of them
    Held,
    /// 100 subscribers that read, without and with 1000 that never do
    Stalled,
    /// 1000 publishers, 50 of them over REST, that all send at the same moment; 500 subscribers; every overflow policy
    Crowd,
}
