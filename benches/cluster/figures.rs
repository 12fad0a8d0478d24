//! What a measurement found, and medians of several.

use std::time::Duration;

use super::load::Outcome;
use super::servers::Cpu;

/// The figures of one measurement, or the medians of several.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    pub(crate) publishes_per_second: f64,
    pub(crate) deliveries_per_second: f64,
    /// Processor time of all servers but Redis, for each delivery; for each event where nobody is subscribed.
    pub(crate) server_micros: f64,
    /// Processor time of Redis, for each event.
    pub(crate) redis_micros: f64,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
    /// Share of a core that the load took.
    pub(crate) load_share: f64,
    /// Share of a core that Redis took.
    pub(crate) redis_share: f64,
}

impl Figures {
    /// Of a load that published so many events.
    pub(crate) fn new(events: u64, outcome: &Outcome, cpu: &Cpu, load_cpu: Duration) -> Figures {
        let seconds = outcome.usage.wall.as_secs_f64();
        let servers: Duration = cpu.threadcasts.iter().sum();
        let each = |cpu: Duration, count: u64| cpu.as_secs_f64() * 1e6 / count as f64;
        let counted = match outcome.deliveries {
            0 => events,
            deliveries => deliveries,
        };
        Figures {
            publishes_per_second: events as f64 / seconds,
            deliveries_per_second: outcome.deliveries as f64 / seconds,
            server_micros: each(servers, counted),
            redis_micros: each(cpu.redis, events),
            p50_micros: outcome.latencies.quantile_micros(0.5),
            p99_micros: outcome.latencies.quantile_micros(0.99),
            load_share: load_cpu.as_secs_f64() / seconds,
            redis_share: cpu.redis.as_secs_f64() / seconds,
        }
    }

    /// Each figure by itself.
    pub(crate) fn medians(rounds: &[Figures]) -> Figures {
        let of = |figure: fn(&Figures) -> f64| median(rounds.iter().map(figure).collect());
        Figures {
            publishes_per_second: of(|figures| figures.publishes_per_second),
            deliveries_per_second: of(|figures| figures.deliveries_per_second),
            server_micros: of(|figures| figures.server_micros),
            redis_micros: of(|figures| figures.redis_micros),
            p50_micros: of(|figures| figures.p50_micros),
            p99_micros: of(|figures| figures.p99_micros),
            load_share: of(|figures| figures.load_share),
            redis_share: of(|figures| figures.redis_share),
        }
    }
}

/// The middle of the values, or the mean of the two in the middle; 0 without values.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => 0.0,
        (length, middle) if length % 2 == 1 => values[middle],
        (_, middle) => f64::midpoint(values[middle - 1], values[middle]),
    }
}
