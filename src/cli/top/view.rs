//! Formats samples as lines of text. No I/O.

use std::cmp::Reverse;
use std::fmt::Write;
use std::time::Duration;

use console::{Alignment, pad_str};
use threadcast::client::{ConnectionState, Error, SubscriptionState, TopicStats};

use super::super::printable;
use super::Sort;
use super::sample::{RateTable, Sample};

const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";
/// Lines other than rows: server, counts, status, two headings, a blank line after each table, keys.
const FIXED_LINES: usize = 8;

/// The state of the live view.
#[derive(Debug)]
pub(super) struct State {
    sample: Sample,
    rate_table: RateTable,
    sort: Sort,
    /// The error of the last request, if it failed.
    error: Option<String>,
    version: u64,
}

impl State {
    pub(super) fn new(sample: Sample, sort: Sort) -> State {
        State {
            sample,
            rate_table: RateTable::default(),
            sort,
            error: None,
            version: 0,
        }
    }

    /// Changes whenever the view changes.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn sort(&mut self, sort: Sort) {
        self.sort = sort;
        self.version += 1;
    }

    pub(super) fn take(&mut self, answer: Result<Sample, Error>) {
        match answer {
            Ok(sample) => {
                self.rate_table = RateTable::between(&self.sample, &sample);
                self.sample = sample;
                self.error = None;
            }
            Err(error) => self.error = Some(error.to_string()),
        }
        self.version += 1;
    }

    /// The age of the sample, if it is too old.
    pub(super) fn seconds_behind(&self, interval: Duration) -> Option<u64> {
        let age = self.sample.at.elapsed();
        (age > interval * 2 + Duration::from_secs(1)).then_some(age.as_secs())
    }

    /// The lines of a screen of this size.
    pub(super) fn lines(
        &self,
        (height, columns): (usize, usize),
        behind: Option<u64>,
    ) -> Vec<String> {
        let widths = Widths::within(columns);
        let topics = topics(&self.sample, &self.rate_table, self.sort, &widths);
        let lagging = lagging(&self.sample, &widths);
        let room = height.saturating_sub(FIXED_LINES);
        let for_laggards = lagging.len().min(room / 2);
        let topic_rows = topics.len().min(room - for_laggards);
        let mut lines = vec![server(&self.sample), counts(&self.sample, &self.rate_table)];
        lines.push(match (&self.error, behind) {
            (Some(error), _) => {
                format!("{BOLD}disconnected{PLAIN}: {}", printable::text(error))
            }
            (None, Some(seconds)) => format!("no answer for {seconds} s"),
            (None, None) => String::new(),
        });
        lines.push(format!("{BOLD}{}{PLAIN}", topics_heading(&widths)));
        lines.extend(first(topics, topic_rows));
        lines.push(String::new());
        lines.push(format!("{BOLD}{}{PLAIN}", lagging_heading(&widths)));
        lines.extend(first(lagging, room - topic_rows));
        lines.push(String::new());
        lines.push(self.keys());
        lines.truncate(height);
        lines
    }

    fn keys(&self) -> String {
        let keys = [
            (Sort::Name, "n name"),
            (Sort::Subscribers, "s subscribers"),
            (Sort::Rate, "r rate"),
            (Sort::Messages, "m messages"),
            (Sort::History, "h history"),
            (Sort::Dropped, "d dropped"),
        ];
        let keys = keys.map(|(sort, text)| match sort == self.sort {
            true => format!("{BOLD}{text}{PLAIN}"),
            false => text.to_owned(),
        });
        format!("sort: {}   q quit", keys.join("  "))
    }
}

/// Widths of the columns with names. The columns with numbers have fixed widths.
struct Widths {
    topic: usize,
    lagging_topic: usize,
    client: usize,
    address: usize,
    /// Replaces the end of a name that is too long; `None` never truncates.
    cut: Option<&'static str>,
}

/// Total widths of the columns with numbers, including spaces.
const TOPIC_NUMBERS_WIDTH: usize = 62;
const LAGGING_NUMBERS_WIDTH: usize = 38;

impl Widths {
    /// For output without line wrapping.
    const PLAIN: Widths = Widths {
        topic: 32,
        lagging_topic: 24,
        client: 28,
        address: 22,
        cut: None,
    };

    /// For a terminal: names share the remaining width.
    fn within(columns: usize) -> Widths {
        let names = columns.saturating_sub(LAGGING_NUMBERS_WIDTH).max(24);
        let address = (names * 3 / 8).min(22);
        let lagging_topic = ((names - address) / 2).min(32);
        Widths {
            topic: columns.saturating_sub(TOPIC_NUMBERS_WIDTH).clamp(10, 48),
            lagging_topic,
            client: (names - address - lagging_topic).min(40),
            address,
            cut: Some("…"),
        }
    }

    fn fit(&self, text: &str, width: usize) -> String {
        pad_str(&printable::text(text), width, Alignment::Left, self.cut).into_owned()
    }
}

/// The first rows. If there are more, the last line says how many.
fn first(mut rows: Vec<String>, room: usize) -> Vec<String> {
    if rows.len() > room && room > 0 {
        let left_out = rows.len() - (room - 1);
        rows.truncate(room - 1);
        rows.push(format!("… and {left_out} more"));
    }
    rows.truncate(room);
    rows
}

/// Both tables as plain text, with at most `rows` rows each.
pub(super) fn plain(sample: &Sample, rate_table: &RateTable, sort: Sort, rows: usize) -> String {
    let mut out = format!("{}, {}\n", server(sample), counts(sample, rate_table));
    let widths = Widths::PLAIN;
    let topics = topics(sample, rate_table, sort, &widths);
    for (heading, lines) in [
        (topics_heading(&widths), topics),
        (lagging_heading(&widths), lagging(sample, &widths)),
    ] {
        let _ = write!(out, "\n{heading}\n");
        for line in lines.iter().take(rows) {
            let _ = writeln!(out, "{line}");
        }
        if lines.len() > rows {
            let _ = writeln!(out, "… and {} more", lines.len() - rows);
        }
    }
    out
}

fn server(sample: &Sample) -> String {
    let health = &sample.health;
    format!(
        "threadcast {} at ws://{}/ws: up {}",
        printable::text(&health.version),
        sample.server,
        uptime(health.uptime_sec),
    )
}

fn counts(sample: &Sample, rate_table: &RateTable) -> String {
    let health = &sample.health;
    let nodes = sample
        .nodes
        .map_or(String::new(), |nodes| format!("{nodes} nodes, "));
    format!(
        "{nodes}{} topics, {} subscriptions, {} connections, {} retained, {} deliveries/s",
        health.topics,
        health.subscribers,
        health.connections,
        bytes(health.retained_bytes),
        rate_table.delivered.map_or("–".to_owned(), rate),
    )
}

fn topics_heading(widths: &Widths) -> String {
    format!(
        "{} {:>5} {:>8} {:>9} {:>8} {:>10} {:>8} {:>7}",
        widths.fit("TOPIC", widths.topic),
        "SUBS",
        "MSG/S",
        "HEAD",
        "HISTORY",
        "BYTES",
        "DROPPED",
        "DROPS/S"
    )
}

fn topics(sample: &Sample, rate_table: &RateTable, sort: Sort, widths: &Widths) -> Vec<String> {
    let mut topics: Vec<(&String, &TopicStats)> = sample.topics.iter().collect();
    let messages = |name: &str| rate_table.of(name).map_or(0.0, |rates| rates.messages);
    // Already sorted by name, and the sort is stable.
    match sort {
        Sort::Name => {}
        Sort::Subscribers => topics.sort_by_key(|(_, stats)| Reverse(stats.subscribers)),
        Sort::Rate => topics.sort_by(|a, b| messages(b.0).total_cmp(&messages(a.0))),
        Sort::Messages => topics.sort_by_key(|(_, stats)| Reverse(stats.messages)),
        Sort::History => topics.sort_by_key(|(_, stats)| Reverse(stats.history.bytes)),
        Sort::Dropped => topics.sort_by_key(|(_, stats)| Reverse(stats.dropped)),
    }
    let line = |(name, stats): (&String, &TopicStats)| {
        let rates = rate_table.of(name);
        format!(
            "{} {:>5} {:>8} {:>9} {:>8} {:>10} {:>8} {:>7}",
            widths.fit(name, widths.topic),
            stats.subscribers,
            rates.map_or("–".to_owned(), |rates| rate(rates.messages)),
            stats.seq,
            stats.history.count,
            bytes(stats.history.bytes),
            stats.dropped,
            rates.map_or("–".to_owned(), |rates| rate(rates.dropped)),
        )
    };
    topics.into_iter().map(line).collect()
}

fn lagging_heading(widths: &Widths) -> String {
    format!(
        "{:>7} {:>8} {} {} {} {:>7} {:>10}",
        "LAG",
        "DROPPED",
        widths.fit("TOPIC", widths.lagging_topic),
        widths.fit("CLIENT", widths.client),
        widths.fit("ADDRESS", widths.address),
        "IDLE",
        "UNSENT"
    )
}

/// The subscriptions, largest lag first.
fn lagging(sample: &Sample, widths: &Widths) -> Vec<String> {
    let connections = sample.connections.connections.iter();
    let mut all: Vec<(&ConnectionState, &SubscriptionState)> = connections
        .flat_map(|connection| {
            let subscriptions = connection.subscriptions.iter();
            subscriptions.map(move |subscription| (connection, subscription))
        })
        .collect();
    all.sort_by_key(|(_, one)| Reverse((one.lag, one.dropped)));
    let line = |(connection, one): (&ConnectionState, &SubscriptionState)| {
        format!(
            "{:>7} {:>8} {} {} {} {:>7} {:>10}",
            one.lag,
            one.dropped,
            widths.fit(&one.topic, widths.lagging_topic),
            widths.fit(&one.client_id, widths.client),
            widths.fit(&connection.address, widths.address),
            format!("{} s", connection.idle_sec),
            bytes(connection.pending_bytes),
        )
    };
    all.into_iter().map(line).collect()
}

fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate > 0.0 && rate < 10.0 => format!("{rate:.1}"),
        rate => format!("{rate:.0}"),
    }
}

fn bytes(count: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let (mut size, mut unit) = (count as f64 / 1024.0, 0);
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", units[unit])
}

fn uptime(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use console::measure_text_width;

    use super::*;

    #[test]
    fn sizes_and_times_are_formatted_short() {
        let sizes = [0, 1023, 1024, 1536, 8 << 20, 3 << 40].map(bytes);
        assert_eq!(
            sizes,
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "8.0 MiB", "3.0 TiB"]
        );
        let times = [0, 59, 60, 3_660, 90_000].map(uptime);
        assert_eq!(times, ["0 s", "59 s", "1 min", "1 h 1 min", "1 d 1 h"]);
        assert_eq!([0.0, 0.25, 9.94, 10.4].map(rate), ["0", "0.2", "9.9", "10"]);
    }

    #[test]
    fn numbers_fit_into_eighty_columns_with_any_names() {
        for columns in [80, 100, 120, 200] {
            let widths = Widths::within(columns);
            for name in ["a", &"long".repeat(30), &"日本".repeat(30)] {
                let topic = widths.fit(name, widths.topic);
                let lagging = [widths.lagging_topic, widths.client, widths.address];
                let lagging: usize = lagging
                    .iter()
                    .map(|width| measure(name, &widths, *width))
                    .sum();
                assert!(measure_text_width(&topic) + TOPIC_NUMBERS_WIDTH <= columns);
                assert!(
                    lagging + LAGGING_NUMBERS_WIDTH <= columns,
                    "{columns}: {name}"
                );
            }
            assert!(measure_text_width(&topics_heading(&widths)) <= columns);
            assert!(measure_text_width(&lagging_heading(&widths)) <= columns);
        }
    }

    fn measure(name: &str, widths: &Widths, width: usize) -> usize {
        measure_text_width(&widths.fit(name, width))
    }

    #[test]
    fn omitted_rows_are_counted() {
        let rows = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(first(rows(3), 3), ["0", "1", "2"]);
        assert_eq!(first(rows(5), 3), ["0", "1", "… and 3 more"]);
        assert!(first(rows(5), 0).is_empty());
    }
}
