//! The dashboard and the alerts in deploy/ use existing series.

use std::collections::BTreeSet;

use super::{read, whole_page};

/// Every word of a text that is the name of a series.
fn names_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| word.starts_with("pubsub_") || word.starts_with("process_"))
        .collect()
}

/// The series of a node of a cluster, as documented; `tests/cluster/run` compares the document with a node.
fn series_of_a_node(document: &str) -> BTreeSet<&str> {
    let rows = document
        .lines()
        .filter(|line| line.starts_with("| `pubsub_"));
    rows.flat_map(names_in).collect()
}

#[test]
fn dashboard_and_alerts_use_only_existing_series() {
    let page = whole_page();
    let mut known: BTreeSet<_> = page.samples().map(|sample| sample.name.as_str()).collect();
    let document = read("docs/cluster.md");
    let of_a_node = series_of_a_node(&document);
    assert!(of_a_node.len() > 5, "{of_a_node:?}");
    known.extend(of_a_node);
    for path in [
        "deploy/grafana-dashboard.json",
        "deploy/alerts.yml",
        "deploy/alerts.test.yml",
    ] {
        let text = read(path);
        let named = names_in(&text);
        assert!(named.len() > 3, "{path} names {named:?}");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{path} names {unknown:?}");
    }
}

#[test]
fn dashboard_and_alerts_use_only_existing_label_values() {
    let page = whole_page();
    let matchers: BTreeSet<String> = page
        .samples()
        .flat_map(|sample| sample.labels.iter())
        .map(|(label, value)| format!("{label}=\"{value}\""))
        .collect();
    for path in ["deploy/grafana-dashboard.json", "deploy/alerts.yml"] {
        let text = read(path).replace("\\\"", "\"");
        for label in ["reason", "result", "policy", "path", "door", "protocol"] {
            for (at, _) in text.match_indices(&format!("{label}=\"")) {
                let matcher = text[at..]
                    .splitn(3, '"')
                    .take(2)
                    .collect::<Vec<_>>()
                    .join("\"");
                assert!(
                    matchers.contains(&format!("{matcher}\"")),
                    "{path}: {matcher}"
                );
            }
        }
    }
}

#[test]
fn dashboard_is_valid() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("deploy/grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        assert!(panel["title"].is_string(), "{panel}");
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().expect("targets");
        let expressions = targets.iter().map(|target| target["expr"].as_str());
        assert!(expressions.flatten().count() > 0, "{panel}");
    }
    assert!(panels.len() > 10);
}
