//! Metric families with their samples, and their OpenMetrics text. The only user of prometheus-client.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
pub(crate) use prometheus_client::registry::Unit;

use super::histogram::{Distribution, Latency};

/// The families of a page, in order.
#[derive(Debug, Default)]
pub(crate) struct Families(pub(super) Vec<Family>);

/// Samples with the same name.
#[derive(Debug)]
pub(super) struct Family {
    /// Without the unit.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) unit: Option<Unit>,
    pub(super) samples: Vec<(Labels, Value)>,
}

type Labels = Vec<(&'static str, String)>;

/// A sample. All samples of a family have the same kind.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Count(u64),
    /// A counter with fractions.
    Total(f64),
    Gauge(u64),
    /// A gauge with fractions.
    Reading(f64),
    Histogram(Distribution),
    /// A histogram of current values, whose counts also decrease.
    Snapshot(Distribution),
    Info,
}

impl Families {
    pub(crate) fn push(
        &mut self,
        name: &'static str,
        help: &'static str,
        unit: Option<Unit>,
        samples: Vec<(Labels, Value)>,
    ) {
        self.0.push(Family {
            name,
            help,
            unit,
            samples,
        });
    }

    pub(crate) fn one(&mut self, name: &'static str, help: &'static str, value: Value) {
        self.push(name, help, None, vec![(Labels::new(), value)]);
    }

    pub(crate) fn counter(&mut self, name: &'static str, help: &'static str, count: u64) {
        self.one(name, help, Value::Count(count));
    }

    pub(crate) fn gauge(&mut self, name: &'static str, help: &'static str, value: usize) {
        self.one(name, help, Value::Gauge(value as u64));
    }

    /// A gauge; `_bytes` is appended to its name.
    pub(crate) fn bytes(&mut self, name: &'static str, help: &'static str, bytes: u64) {
        let sample = (Labels::new(), Value::Gauge(bytes));
        self.push(name, help, Some(Unit::Bytes), vec![sample]);
    }

    /// A sample; `_seconds` is appended to its name.
    pub(super) fn seconds(&mut self, name: &'static str, help: &'static str, value: Value) {
        let sample = (Labels::new(), value);
        self.push(name, help, Some(Unit::Seconds), vec![sample]);
    }

    pub(crate) fn counters<L: ToString, const N: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        counts: [(L, u64); N],
    ) {
        self.push(name, help, None, labelled(label, counts));
    }

    /// Counters; `_bytes` is appended to their name.
    pub(super) fn byte_counters<const N: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        counts: [(&str, u64); N],
    ) {
        self.push(name, help, Some(Unit::Bytes), labelled(label, counts));
    }

    /// Histograms by the label `path`; an empty path means no label.
    pub(super) fn latencies(
        &mut self,
        name: &'static str,
        help: &'static str,
        latencies: &[(&str, &Latency)],
    ) {
        let samples = latencies.iter().map(|(path, latency)| {
            let labels = match *path {
                "" => Labels::new(),
                path => vec![("path", path.to_owned())],
            };
            (labels, Value::Histogram(latency.distribution()))
        });
        self.push(name, help, Some(Unit::Seconds), samples.collect());
    }

    pub(crate) fn info(&mut self, name: &'static str, help: &'static str, labels: Labels) {
        self.push(name, help, None, vec![(labels, Value::Info)]);
    }

    /// Removes and returns the families of snapshots.
    pub(super) fn split_snapshots(&mut self) -> Families {
        let is_snapshot =
            |family: &mut Family| matches!(family.samples.first(), Some((_, Value::Snapshot(_))));
        Families(self.0.extract_if(.., is_snapshot).collect())
    }

    /// Appends the OpenMetrics text, without `# EOF`. Fails only if the writer fails.
    pub(super) fn write(self, page: &mut String) -> fmt::Result {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        text::encode_registry(page, &registry)
    }
}

fn labelled<L: ToString, const N: usize>(
    label: &'static str,
    counts: [(L, u64); N],
) -> Vec<(Labels, Value)> {
    let counts = counts.into_iter();
    let sample = |(value, count): (L, u64)| (vec![(label, value.to_string())], Value::Count(count));
    counts.map(sample).collect()
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &self.0 {
            let Some((_, first)) = family.samples.first() else {
                continue;
            };
            let unit = family.unit.as_ref();
            let kind = first.kind();
            let mut encoder = encoder.encode_descriptor(family.name, family.help, unit, kind)?;
            for (labels, value) in &family.samples {
                match value {
                    Value::Info => encoder.encode_info(labels)?,
                    value if labels.is_empty() => value.encode(&mut encoder)?,
                    value => value.encode(&mut encoder.encode_family(labels)?)?,
                }
            }
        }
        Ok(())
    }
}

impl Value {
    fn kind(&self) -> MetricType {
        match self {
            Value::Count(_) | Value::Total(_) => MetricType::Counter,
            Value::Gauge(_) | Value::Reading(_) => MetricType::Gauge,
            Value::Histogram(_) | Value::Snapshot(_) => MetricType::Histogram,
            Value::Info => MetricType::Info,
        }
    }

    fn encode(&self, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        match self {
            Value::Count(count) => encoder.encode_counter::<NoLabelSet, _, u64>(count, None),
            Value::Total(total) => encoder.encode_counter::<NoLabelSet, _, u64>(total, None),
            Value::Gauge(value) => encoder.encode_gauge(value),
            Value::Reading(value) => encoder.encode_gauge(value),
            Value::Histogram(seen) | Value::Snapshot(seen) => {
                let Distribution { buckets, sum } = seen;
                encoder.encode_histogram::<NoLabelSet>(*sum, seen.count(), buckets, None)
            }
            Value::Info => encoder.encode_info(&Labels::new()),
        }
    }
}
