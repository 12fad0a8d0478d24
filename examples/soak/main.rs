//! An exactness test under load: many publishers and every kind of subscriber against a server of its own. Every message that a
//! client gets is checked against what was published. Exit code 1 after a violation.
//!
//!     cargo run --release --example soak -- --minutes 2
//!     cargo run --release --example soak -- --shape crowd --publishers 300 --topics 3
//!     cargo run --release --example soak -- --shape budget --topics 60
//!     cargo run --release --example soak -- --shape withdrawn

mod trial;

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use trial::{Plan, Shape, Verdict};

/// Looks for a lost, doubled, reordered or leaked event.
#[derive(Debug, Parser)]
#[command(name = "soak")]
struct Options {
    /// How long to publish
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        conflicts_with = "seconds"
    )]
    minutes: u64,
    /// The same in seconds
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Connections that publish, each to the topics of one overflow policy
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    publishers: u16,
    /// Topics, each overflow policy in turn
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(3..=1000))]
    topics: u16,
    /// Which load it runs
    #[arg(long, value_name = "SHAPE", default_value = "mixed", value_parser = shape())]
    shape: Shape,
    /// Who does what when; the time by default
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let seconds = options.seconds.unwrap_or(options.minutes * 60);
    let plan = Plan {
        duration: Duration::from_secs(seconds),
        publishers: options.publishers.into(),
        topics: options.topics.into(),
        seed: options.seed.unwrap_or_else(time_as_seed),
        shape: options.shape,
    };
    println!("publishing for {seconds} s, seed {}", plan.seed);
    match trial::run(&plan) {
        Ok(verdict) => print(&verdict),
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

const SHAPES: [(&str, Shape); 4] = [
    ("mixed", Shape::Mixed),
    ("crowd", Shape::Crowd),
    ("budget", Shape::Budget),
    ("withdrawn", Shape::Withdrawn),
];

fn shape() -> impl TypedValueParser<Value = Shape> {
    PossibleValuesParser::new(SHAPES.map(|(name, _)| name)).map(|name| {
        let known = SHAPES.into_iter().find(|(known, _)| *known == name);
        known.map(|(_, shape)| shape).unwrap_or_default()
    })
}

fn time_as_seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

fn print(verdict: &Verdict) -> ExitCode {
    let counts = &verdict.counts;
    for (what, count) in [
        ("published", verdict.published),
        ("refused", counts.refused),
        ("withdrawals", counts.withdrawals),
        ("delivered", counts.received),
        ("reported as gaps", counts.reported),
        ("gap notices", counts.gaps),
        ("resumes", counts.resumes),
        ("takeovers", counts.takeovers),
        ("ended by the server", counts.disconnects),
        ("cut by the client", counts.cuts),
        ("churned", counts.churns),
        ("violations", verdict.violations),
    ] {
        println!("{what:>20} {count:>12}");
    }
    verdict.texts.iter().for_each(|text| eprintln!("{text}"));
    if verdict.violations == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
