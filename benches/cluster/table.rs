//! Measurements that take turns, and what is printed of them.

use std::fmt;

use threadcast::load::Failure;

use super::figures::{Figures, median};

/// One of the measurements of a scene.
pub(crate) struct Side<'a> {
    name: String,
    measure: Box<dyn Fn() -> Result<Figures, Failure> + 'a>,
}

impl<'a> Side<'a> {
    pub(crate) fn new(
        name: impl Into<String>,
        measure: impl Fn() -> Result<Figures, Failure> + 'a,
    ) -> Side<'a> {
        Side {
            name: name.into(),
            measure: Box::new(measure),
        }
    }
}

/// What the sides of a scene measured: for each side, in their order, the figures of all rounds.
pub(crate) struct Table(Vec<Vec<Figures>>);

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

/// Measures all sides once in each round, so that a machine that changes its pace changes it for all of them. Prints the
/// medians.
pub(crate) fn take_turns(heading: &str, rounds: u32, sides: &[Side<'_>]) -> Result<Table, Failure> {
    print_heading(heading);
    let mut table = vec![Vec::new(); sides.len()];
    for _ in 0..rounds {
        for (side, measured) in sides.iter().zip(&mut table) {
            let figures = (side.measure)();
            let figures = figures.map_err(|failure| format!("{}: {failure}", side.name))?;
            measured.push(figures);
        }
    }
    for (side, measured) in sides.iter().zip(&table) {
        print_line(&side.name, &Figures::medians(measured));
    }
    Ok(Table(table))
}

fn print_heading(heading: &str) {
    println!();
    println!(
        "{heading:<40} {:>11} {:>12} {:>10} {:>10} {:>9} {:>9} {:>6} {:>6}",
        "publishes/s", "deliveries/s", "server CPU", "Redis CPU", "p50", "p99", "Redis", "load"
    );
}

fn print_line(name: &str, figures: &Figures) {
    println!(
        "    {name:<36} {:>11.0} {:>12.0} {:>7.2} µs {:>7.2} µs {:>6.0} µs {:>6.0} µs {:>4.0} % {:>4.0} %",
        figures.publishes_per_second,
        figures.deliveries_per_second,
        figures.server_micros,
        figures.redis_micros,
        figures.p50_micros,
        figures.p99_micros,
        100.0 * figures.redis_share,
        100.0 * figures.load_share,
    );
}

impl Table {
    /// The median of a figure of this side.
    pub(crate) fn median(&self, side: usize, figure: fn(&Figures) -> f64) -> f64 {
        median(self.0[side].iter().map(figure).collect())
    }

    /// How a figure of a side compares with that of another in the same round: the median of the ratios.
    pub(crate) fn ratio(&self, side: usize, other: usize, figure: fn(&Figures) -> f64) -> f64 {
        let pairs = self.0[side].iter().zip(&self.0[other]);
        median(pairs.map(|(a, b)| figure(a) / figure(b)).collect())
    }
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Target::AtLeast(least) => value >= least,
            Target::AtMost(most) => value <= most,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::AtLeast(least) => write!(f, "at least {least}"),
            Target::AtMost(most) => write!(f, "at most {most}"),
        }
    }
}

/// Prints a figure, its target, and whether it is met.
pub(crate) fn judge(what: &str, value: f64, target: Target) {
    let met = match target.is_met(value) {
        true => "met",
        false => "not met",
    };
    let places = if value < 1000.0 { 2 } else { 0 };
    println!("    {what}: {value:.places$} (target: {target}): {met}");
}

/// Prints one more fact about the lines above.
pub(crate) fn print_fact(fact: &str) {
    println!("    {fact}");
}
