//! The two texts in which a page can be had.

use std::fmt;

use super::family::Families;

/// Which text is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format 0.0.4 of Prometheus, for tools that do not read the other.
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
        let (mut page, mut of_now) = (String::new(), String::new());
        families.write(&mut page)?;
        snapshots.write(&mut of_now)?;
        match self {
            Format::OpenMetrics => Ok(page + &as_gauge_histograms(&of_now) + "# EOF\n"),
            Format::Prometheus => Ok(as_prometheus(&(page + &of_now))),
        }
    }
}

/// Histograms whose counts also go down have a type of their own, which the older format does not know.
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

/// The older format: samples are the same, but described under the whole name of the sample, and without units.
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
    fn openmetrics_has_units_an_end_and_a_type_for_what_goes_down() {
        let expected = "# HELP a About it\n# TYPE a info\na_info{version=\"1.0\"} 1\n\
            # HELP b Those\n# TYPE b counter\nb_total{by=\"x\"} 1\nb_total{by=\"y\"} 0\n\
            # HELP c_bytes So much\n# TYPE c_bytes gauge\n# UNIT c_bytes bytes\nc_bytes 7\n\
            # HELP d So far\n# TYPE d gaugehistogram\nd_gsum 12.0\nd_gcount 4\n\
            d_bucket{le=\"0.0\"} 2\nd_bucket{le=\"5.0\"} 3\nd_bucket{le=\"+Inf\"} 4\n# EOF\n";
        assert_eq!(page(Format::OpenMetrics), expected);
    }

    #[test]
    fn the_older_format_describes_samples_by_their_whole_names() {
        let expected = "# HELP a_info About it\n# TYPE a_info gauge\na_info{version=\"1.0\"} 1\n\
            # HELP b_total Those\n# TYPE b_total counter\nb_total{by=\"x\"} 1\nb_total{by=\"y\"} 0\n\
            # HELP c_bytes So much\n# TYPE c_bytes gauge\nc_bytes 7\n\
            # HELP d So far\n# TYPE d histogram\nd_sum 12.0\nd_count 4\n\
            d_bucket{le=\"0.0\"} 2\nd_bucket{le=\"5.0\"} 3\nd_bucket{le=\"+Inf\"} 4\n";
        assert_eq!(page(Format::Prometheus), expected);
    }
}
