//! `/metrics` of a node, and its document.

use std::collections::BTreeMap;

use crate::cluster::Cluster;
use crate::harness::Page;

/// The rows of the table in docs/cluster.md: name and type. A row may have several names.
fn documented() -> BTreeMap<String, String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cluster.md");
    let text = std::fs::read_to_string(path).expect("the document");
    let rows = text.lines().filter(|line| line.starts_with("| `pubsub_"));
    rows.flat_map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, names, kind, _, meaning, _] = cells[..] else {
            panic!("no row of four cells: {row}")
        };
        assert!(!meaning.is_empty(), "{row}");
        let names = names.split(", ").map(|name| name.trim_matches('`'));
        names.map(move |name| (name.to_owned(), kind.to_owned()))
    })
    .collect()
}

#[test]
fn document_lists_exactly_what_a_node_has_besides() {
    let cluster = Cluster::of(1);
    let page = Page::parse(&String::from_utf8_lossy(&cluster[0].get("/metrics").body));
    let of_a_node = page
        .families
        .iter()
        .filter(|family| family.name.starts_with("pubsub_engine_"));
    let found: BTreeMap<String, String> = of_a_node
        .map(|family| {
            let suffix = if family.kind == "counter" {
                "_total"
            } else {
                ""
            };
            (format!("{}{suffix}", family.name), family.kind.clone())
        })
        .collect();
    assert_eq!(documented(), found);
}
