//! The two text formats of a page.

use std::fmt;

use super::family::Families;

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format 0.0.4 of Prometheus, for tools without OpenMetrics.
    Prometheus,
}

impl Format {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The whole page.
    pub(crate) fn write(self, mut families: Families) -> Result<String, fmt::Error> {
        let snapshots = families.split_snapshots();
        let (mut page, mut gauges) = (String::new(), String::new());
        families.write(&mut page)?;
        snapshots.write(&mut gauges)?;
        match self {
            Format::OpenMetrics => Ok(page + &as_gauge_histograms(&gauges) + "# EOF\n"),
            Format::Prometheus => Ok(as_prometheus(&(page + &gauges))),
        }
    }
}

/// OpenMetrics has a type of its own for histograms whose counts also decrease.
fn as_gauge_histograms(text: &str) -> String {
    text.lines().map(as_gauge_histogram).collect()
}

fn as_gauge_histogram(line: &str) -> String {
    match line.strip_suffix(" histogram") {
        Some(described) => format!("{described} gaugehistogram\n"),
        None if line.starts_with('#') => format!("{line}\n"),
        None => {
            line.replacen("_sum ", "_gsum ", 1)
                .replacen("_count ", "_gcount ", 1)
                + "\n"
        }
    }
}

/// The Prometheus format: the same samples, described under the full name of the sample, without units.
fn as_prometheus(text: &str) -> String {
    let mut page = String::with_capacity(text.len());
    let mut help = "";
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("UNIT"), ..) => {}
            (Some("#"), Some("HELP"), _, Some(text)) => help = text,
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    kind => ("", kind),
                };
                page += &format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n");
            }
            _ => {
                page += line;
                page.push('\n');
            }
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::super::{Distribution, Value};
    use super::*;

    fn page(format: Format) -> String {
        let mut families = Families::default();
        families.info("a", "About it", vec![("version", "1.0".to_owned())]);
        families.counters("b", "Those", "by", [("x", 1), ("y", 0)]);
        families.bytes("c", "So much", 7);
        let mut lag = Distribution::new(&[0, 5]);
        [0, 0, 3, 9].into_iter().for_each(|value| lag.add(value));
        families.one("d", "So far", Value::Snapshot(lag));
        format.write(families).unwrap()
    }

    #[test]
    fn openmetrics_has_units_eof_and_gauge_histograms() {
        let expected = "# HELP a About it\n# TYPE a info\na_info{version=\"1.0\"} 1\n\
            # HELP b Those\n# TYPE b counter\nb_total{by=\"x\"} 1\nb_total{by=\"y\"} 0\n\
            # HELP c_bytes So much\n# TYPE c_bytes gauge\n# UNIT c_bytes bytes\nc_bytes 7\n\
            # HELP d So far\n# TYPE d gaugehistogram\nd_gsum 12.0\nd_gcount 4\n\
            d_bucket{le=\"0.0\"} 2\nd_bucket{le=\"5.0\"} 3\nd_bucket{le=\"+Inf\"} 4\n# EOF\n";
        assert_eq!(page(Format::OpenMetrics), expected);
    }

    #[test]
    fn prometheus_format_describes_full_sample_names() {
        let expected = "# HELP a_info About it\n# TYPE a_info gauge\na_info{version=\"1.0\"} 1\n\
            # HELP b_total Those\n# TYPE b_total counter\nb_total{by=\"x\"} 1\nb_total{by=\"y\"} 0\n\
            # HELP c_bytes So much\n# TYPE c_bytes gauge\nc_bytes 7\n\
            # HELP d So far\n# TYPE d histogram\nd_sum 12.0\nd_count 4\n\
            d_bucket{le=\"0.0\"} 2\nd_bucket{le=\"5.0\"} 3\nd_bucket{le=\"+Inf\"} 4\n";
        assert_eq!(page(Format::Prometheus), expected);
    }
}
