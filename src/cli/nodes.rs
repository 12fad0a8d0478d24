//! `threadcast nodes`: lists the nodes of a cluster.

use clap::Args;
use console::measure_text_width;
use threadcast::client::NodeState;

use super::error::CliError;
use super::output::{notice, print, print_json};
use super::printable;
use super::server_args::ServerArgs;

const EXAMPLES: &str = "Examples:
  threadcast nodes                                    the nodes of the cluster, by id
  threadcast nodes --json                             an object per line
  threadcast nodes --url ws://10.0.0.1:8080/ws,ws://10.0.0.2:8080/ws

Any node knows all of them; other nodes are shown as they were up to 2 seconds ago. A server that is not a
node of a cluster has none. The key needs the right `admin`.

Exit codes: 0 done, 1 the server is unreachable or refused, 2 invalid command line.";

const HEADING: [&str; 8] = [
    "ID",
    "ADDRESS",
    "VERSION",
    "UPTIME",
    "CONNECTIONS",
    "SUBSCRIPTIONS",
    "ENGINE",
    "LATENCY",
];

/// From which server, and in which form.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Nodes {
    /// Print JSON, an object per line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    server: ServerArgs,
}

/// Prints the nodes.
pub(super) fn run(nodes: &Nodes) -> Result<(), CliError> {
    let list = nodes.server.connect()?.nodes()?;
    if list.is_empty() {
        notice("the server is not a node of a cluster");
    } else if nodes.json {
        print_objects(&list)?;
    } else {
        print_table(&list)?;
    }
    Ok(())
}

fn print_objects(nodes: &[NodeState]) -> Result<(), CliError> {
    for node in nodes {
        let line = serde_json::to_string(node).map_err(CliError::failed)?;
        if !print_json(&line)? {
            break;
        }
    }
    Ok(())
}

fn print_table(nodes: &[NodeState]) -> Result<(), CliError> {
    for line in table(nodes) {
        if !print(line)? {
            break;
        }
    }
    Ok(())
}

/// A heading and a line per node. No cell contains a space, so that `awk` finds the columns.
fn table(nodes: &[NodeState]) -> Vec<String> {
    let mut rows = vec![HEADING.map(str::to_owned)];
    rows.extend(nodes.iter().map(cells));
    let width = |column: usize| {
        rows.iter()
            .map(|row| measure_text_width(&row[column]))
            .max()
    };
    let widths: [usize; HEADING.len()] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let line = |row: &[String; HEADING.len()]| {
        let cells = row.iter().zip(widths);
        let cells = cells.map(|(cell, width)| {
            let fill = width.saturating_sub(measure_text_width(cell));
            format!("{cell}{:fill$}", "")
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn cells(node: &NodeState) -> [String; HEADING.len()] {
    let text = |text: &str| printable::text(text).replace(' ', "_");
    [
        text(&node.id),
        text(&node.address),
        text(&node.version),
        format!("{}s", node.uptime_sec),
        node.connections.to_string(),
        node.subscriptions.to_string(),
        text(&node.engine.state),
        format!("{:.2}ms", node.engine.latency_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, address: &str, uptime_sec: u64) -> NodeState {
        serde_json::from_str(&format!(
            r#"{{"id":"{id}","address":"{address}","version":"0.1.0","uptime_sec":{uptime_sec},"connections":15,"subscriptions":2,"engine":{{"state":"up","latency_ms":0.24}}}}"#
        ))
        .unwrap()
    }

    #[test]
    fn columns_are_aligned_under_their_headings() {
        let nodes = [
            node("8aec3b42c29f491a", "10.0.0.5:8080", 7),
            node("b", "[::1]:1", 3600),
        ];
        assert_eq!(
            table(&nodes),
            [
                "ID                ADDRESS        VERSION  UPTIME  CONNECTIONS  SUBSCRIPTIONS  ENGINE  LATENCY",
                "8aec3b42c29f491a  10.0.0.5:8080  0.1.0    7s      15           2              up      0.24ms",
                "b                 [::1]:1        0.1.0    3600s   15           2              up      0.24ms",
            ]
        );
    }

    #[test]
    fn text_of_a_server_stays_in_its_column() {
        let table = table(&[node("a b", "\\u001b[2J", 1)]);
        assert_eq!(table[1].split_whitespace().count(), HEADING.len());
        assert!(!table[1].contains('\u{1b}'), "{table:?}");
    }
}
