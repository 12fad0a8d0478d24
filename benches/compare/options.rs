//! The command line, and from it what is measured.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::peer::Peer;

/// Measures threadcast beside other servers on this machine; some seven minutes.
#[derive(Debug, Parser)]
#[command(name = "compare")]
pub(crate) struct Options {
    /// Run everything small: shows that it works, not how fast anything is
    #[arg(long)]
    quick: bool,
    /// Measure only this server; may be given several times
    #[arg(long, value_name = "NAME", value_enum)]
    peer: Vec<Peer>,
    /// Measure everything so many times; the plots show the median
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Write the CSV there instead of on standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Accepted because `cargo bench` passes it
    #[arg(long, hide = true)]
    bench: bool,
}

/// So many subscribers, so many events a second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene {
    /// What varies: `subscribers` or `rate`.
    pub(crate) series: &'static str,
    pub(crate) subscribers: usize,
    pub(crate) rate: u32,
}

impl Options {
    pub(crate) fn peers(&self) -> &[Peer] {
        match self.peer.as_slice() {
            [] => Peer::value_variants(),
            chosen => chosen,
        }
    }

    pub(crate) fn rounds(&self) -> u32 {
        if self.quick { 1 } else { self.rounds }
    }

    pub(crate) fn seconds(&self) -> f64 {
        if self.quick { 0.2 } else { 2.5 }
    }

    pub(crate) fn scenes(&self) -> Vec<Scene> {
        let (counts, rates): (&[usize], &[u32]) = match self.quick {
            true => (&[1, 20], &[50, 200]),
            false => (&[1, 10, 100, 1000], &[10, 30, 100, 300, 1000]),
        };
        let by_subscribers = counts.iter().map(|&subscribers| Scene {
            series: "subscribers",
            subscribers,
            rate: 50,
        });
        let by_rate = rates.iter().map(|&rate| Scene {
            series: "rate",
            subscribers: if self.quick { 10 } else { 100 },
            rate,
        });
        by_subscribers.chain(by_rate).collect()
    }
}
