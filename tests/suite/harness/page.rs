//! Parses a page of metrics strictly as OpenMetrics text; a violation of the format fails the test.

use std::collections::{BTreeMap, HashSet};

/// A page with every line checked.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) families: Vec<Family>,
}

#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) help: String,
    pub(crate) unit: Option<String>,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Page {
    pub(crate) fn parse(text: &str) -> Page {
        let lines = text
            .strip_suffix("# EOF\n")
            .expect("the page ends in # EOF");
        assert!(!lines.contains("# EOF"), "an end in the middle");
        let mut families: Vec<Family> = Vec::new();
        for line in lines.split_terminator('\n') {
            match line.strip_prefix("# ") {
                Some(described) => describe(&mut families, described),
                None => {
                    let family = families.last_mut();
                    family.expect("a family first").take(line);
                }
            }
        }
        let page = Page { families };
        page.check();
        page
    }

    /// The value of a sample, written as `name{label="value"}`.
    pub(crate) fn value(&self, series: &str) -> f64 {
        let found = self.find(series);
        found.unwrap_or_else(|| panic!("no {series}"))
    }

    /// The value of a sample, which must be a whole number.
    pub(crate) fn count(&self, series: &str) -> u64 {
        let value = self.value(series);
        assert!(value >= 0.0 && value.fract() == 0.0, "{series} is {value}");
        value as u64
    }

    pub(crate) fn find(&self, series: &str) -> Option<f64> {
        let wanted = Sample::parse(&format!("{series} 0"));
        self.samples()
            .find(|sample| sample.name == wanted.name && sample.labels == wanted.labels)
            .map(|sample| sample.value)
    }

    pub(crate) fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.families.iter().flat_map(|family| &family.samples)
    }

    /// Every sample that never decreases: those of counters and histograms.
    pub(crate) fn growing(&self) -> BTreeMap<String, f64> {
        let growing = |family: &&Family| matches!(family.kind.as_str(), "counter" | "histogram");
        let families = self.families.iter().filter(growing);
        let samples = families.flat_map(|family| &family.samples);
        samples
            .map(|sample| (sample.series(), sample.value))
            .collect()
    }

    fn check(&self) {
        let mut names = HashSet::new();
        let mut series = HashSet::new();
        for family in &self.families {
            assert!(names.insert(&family.name), "{} twice", family.name);
            family.check();
            for sample in &family.samples {
                assert!(series.insert(sample.series()), "{} twice", sample.series());
            }
        }
    }
}

fn describe(families: &mut Vec<Family>, line: &str) {
    let words: Vec<&str> = line.splitn(3, ' ').collect();
    let [what, name, text] = words[..] else {
        panic!("no description: {line}")
    };
    if what == "HELP" {
        families.push(Family {
            name: name.to_owned(),
            kind: String::new(),
            help: text.to_owned(),
            unit: None,
            samples: Vec::new(),
        });
        return;
    }
    let family = families.last_mut().expect("HELP comes first");
    assert_eq!(family.name, name, "{line}");
    assert!(family.samples.is_empty(), "{line} behind a sample");
    match what {
        "TYPE" if family.kind.is_empty() => family.kind = text.to_owned(),
        "UNIT" if family.unit.is_none() => family.unit = Some(text.to_owned()),
        _ => panic!("{line}"),
    }
}

impl Family {
    fn take(&mut self, line: &str) {
        let sample = Sample::parse(line);
        let suffix = sample.name.strip_prefix(&self.name);
        let suffix = suffix.unwrap_or_else(|| panic!("{line} in {}", self.name));
        let allowed: &[&str] = match self.kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            "gaugehistogram" => &["_bucket", "_gsum", "_gcount"],
            kind => panic!("{} is a {kind}", self.name),
        };
        assert!(allowed.contains(&suffix), "{line} in a {}", self.kind);
        self.samples.push(sample);
    }

    fn check(&self) {
        assert!(is_name(&self.name), "{}", self.name);
        assert!(
            !self.help.is_empty() && !self.samples.is_empty(),
            "{self:?}"
        );
        if let Some(unit) = &self.unit {
            assert!(self.name.ends_with(&format!("_{unit}")), "{self:?}");
        }
        let counts = matches!(self.kind.as_str(), "counter" | "histogram");
        assert!(
            !counts || self.samples.iter().all(|s| s.value >= 0.0),
            "{self:?}"
        );
        if self.kind.ends_with("histogram") {
            self.check_buckets();
        }
    }

    /// Buckets of a histogram must be in order, cumulative, and end with the total.
    fn check_buckets(&self) {
        let mut histograms: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for sample in self.samples.iter().filter(|s| s.name.ends_with("_bucket")) {
            let mut labels = sample.labels.clone();
            let bound = labels.remove("le").expect("a bound");
            let bound = number(&bound);
            histograms
                .entry(format!("{labels:?}"))
                .or_default()
                .push((bound, sample.value));
        }
        for (labels, buckets) in histograms {
            let ordered = buckets
                .windows(2)
                .all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
            assert!(ordered, "{} {labels}: {buckets:?}", self.name);
            let (bound, all) = *buckets.last().expect("a bucket");
            assert_eq!(bound, f64::INFINITY, "{} {labels}", self.name);
            let count = self.samples.iter().find(|sample| {
                sample.name.ends_with("count") && format!("{:?}", sample.labels) == labels
            });
            assert_eq!(count.expect("a count").value, all, "{} {labels}", self.name);
        }
    }
}

impl Sample {
    fn parse(line: &str) -> Sample {
        let (series, value) = line.rsplit_once(' ').expect("a value behind a blank");
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').expect("an end of labels")),
            None => (series, ""),
        };
        assert!(is_name(name), "{line}");
        let mut sample = Sample {
            name: name.to_owned(),
            labels: BTreeMap::new(),
            value: number(value),
        };
        // No label of this server contains a comma or a quote.
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once('=').expect("a value of a label");
            let value = value
                .strip_prefix('"')
                .and_then(|value| value.strip_suffix('"'));
            let value = value.filter(|value| !value.contains(['"', '\\']));
            let value = value.unwrap_or_else(|| panic!("{line}")).to_owned();
            assert!(
                is_name(label) && sample.labels.insert(label.to_owned(), value).is_none(),
                "{line}"
            );
        }
        sample
    }

    pub(crate) fn series(&self) -> String {
        format!("{}{:?}", self.name, self.labels)
    }
}

fn number(text: &str) -> f64 {
    let text = if text == "+Inf" { "inf" } else { text };
    text.parse().unwrap_or_else(|_| panic!("no number: {text}"))
}

fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    !text.is_empty() && text.chars().all(allowed) && !text.starts_with(|c: char| c.is_ascii_digit())
}
