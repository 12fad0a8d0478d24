//! Compares the page with docs/metrics.md.

use std::collections::BTreeMap;

use super::{read, whole_page};

/// The rows of the tables: name, type, labels with their values.
fn documented() -> BTreeMap<String, (String, String)> {
    let text = read("docs/metrics.md");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, name, kind, labels, meaning, _] = cells[..] else {
            panic!("no row of five cells: {row}")
        };
        assert!(!meaning.is_empty(), "{row}");
        let name = name.trim_matches('`').to_owned();
        (name, (kind.to_owned(), labels.to_owned()))
    })
    .collect()
}

/// The labels of a family in the notation of the document: with their values, unless these are data.
fn labels_of(samples: &[&BTreeMap<String, String>]) -> String {
    let mut labels: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (label, value) in samples.iter().copied().flatten() {
        let values = labels.entry(label).or_default();
        if !values.contains(&value.as_str()) {
            values.push(value);
        }
    }
    labels.remove("le");
    let written = labels.iter().map(|(label, values)| match *label {
        "topic" | "version" => format!("`{label}`"),
        _ => format!("`{label}`: `{}`", values.join("`, `")),
    });
    written.collect::<Vec<_>>().join("; ")
}

#[test]
fn document_lists_exactly_the_metrics_of_the_page() {
    let page = whole_page();
    let mut found = BTreeMap::new();
    for family in &page.families {
        let suffix = match family.kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let samples: Vec<_> = family.samples.iter().map(|sample| &sample.labels).collect();
        let described = (family.kind.clone(), labels_of(&samples));
        found.insert(format!("{}{suffix}", family.name), described);
    }
    assert_eq!(documented(), found);
}
