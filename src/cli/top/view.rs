//! From samples to lines of text. Pure: knows no terminal but its size.

use std::cmp::Reverse;
use std::fmt::Write;
use std::time::Duration;

use console::{Alignment, pad_str};
use threadcast::client::{ConnectionState, Error, SubscriptionState, TopicStats};

use super::super::printable;
use super::Sort;
use super::sample::{Movement, Sample};

const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";
/// Lines that are no rows: the server, its counts, how it stands, two headings and a blank line behind each table, the keys.
const FIXED_LINES: usize = 8;

/// What the live view has to show.
#[derive(Debug)]
pub(super) struct State {
    url: String,
    sample: Sample,
    movement: Movement,
    sort: Sort,
    /// Why the last look failed, if it did.
    trouble: Option<String>,
    version: u64,
}

impl State {
    pub(super) fn new(url: String, sample: Sample, sort: Sort) -> State {
        State {
            url,
            sample,
            movement: Movement::default(),
            sort,
            trouble: None,
            version: 0,
        }
    }

    /// Changes with everything that is shown.
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
                self.movement = Movement::between(&self.sample, &sample);
                self.sample = sample;
                self.trouble = None;
            }
            Err(error) => self.trouble = Some(error.to_string()),
        }
        self.version += 1;
    }

    /// How old the figures are, once that is worth telling.
    pub(super) fn seconds_behind(&self, interval: Duration) -> Option<u64> {
        let age = self.sample.at.elapsed();
        (age > interval * 2 + Duration::from_secs(1)).then_some(age.as_secs())
    }

    /// The whole screen, of so many lines and columns.
    pub(super) fn lines(
        &self,
        (height, columns): (usize, usize),
        behind: Option<u64>,
    ) -> Vec<String> {
        let widths = Widths::within(columns);
        let topics = topics(&self.sample, &self.movement, self.sort, &widths);
        let laggards = laggards(&self.sample, &widths);
        let room = height.saturating_sub(FIXED_LINES);
        let for_laggards = laggards.len().min(room / 2);
        let for_topics = topics.len().min(room - for_laggards);
        let mut lines = vec![
            server(&self.url, &self.sample),
            counts(&self.sample, &self.movement),
        ];
        lines.push(match (&self.trouble, behind) {
            (Some(trouble), _) => {
                format!("{BOLD}disconnected{PLAIN}: {}", printable::text(trouble))
            }
            (None, Some(seconds)) => format!("no answer since {seconds} s"),
            (None, None) => String::new(),
        });
        lines.push(format!("{BOLD}{}{PLAIN}", topics_heading(&widths)));
        lines.extend(first(topics, for_topics));
        lines.push(String::new());
        lines.push(format!("{BOLD}{}{PLAIN}", laggards_heading(&widths)));
        lines.extend(first(laggards, room - for_topics));
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
        let told = keys.map(|(sort, text)| match sort == self.sort {
            true => format!("{BOLD}{text}{PLAIN}"),
            false => text.to_owned(),
        });
        format!("sort: {}   q quit", told.join("  "))
    }
}

/// How wide the columns of names are. Those of figures are as wide as most figures.
struct Widths {
    topic: usize,
    laggard_topic: usize,
    client: usize,
    address: usize,
    /// What stands for the end of a name that is longer; without it, names are as long as they are.
    cut: Option<&'static str>,
}

/// The columns of figures, with a blank before each.
const TOPIC_FIGURES: usize = 62;
const LAGGARD_FIGURES: usize = 38;

impl Widths {
    /// For an output that wraps no lines.
    const PLAIN: Widths = Widths {
        topic: 32,
        laggard_topic: 24,
        client: 28,
        address: 22,
        cut: None,
    };

    /// For a terminal: names share what the figures leave.
    fn within(columns: usize) -> Widths {
        let names = columns.saturating_sub(LAGGARD_FIGURES).max(24);
        let address = (names * 3 / 8).min(22);
        let laggard_topic = ((names - address) / 2).min(32);
        Widths {
            topic: columns.saturating_sub(TOPIC_FIGURES).clamp(10, 48),
            laggard_topic,
            client: (names - address - laggard_topic).min(40),
            address,
            cut: Some("…"),
        }
    }

    fn fit(&self, text: &str, width: usize) -> String {
        pad_str(&printable::text(text), width, Alignment::Left, self.cut).into_owned()
    }
}

/// The first rows; when there are more, the last line says so.
fn first(mut rows: Vec<String>, room: usize) -> Vec<String> {
    if rows.len() > room && room > 0 {
        let left_out = rows.len() - (room - 1);
        rows.truncate(room - 1);
        rows.push(format!("… and {left_out} more"));
    }
    rows.truncate(room);
    rows
}

/// All of it as plain text, with so many rows of each kind.
pub(super) fn plain(
    url: &str,
    sample: &Sample,
    movement: &Movement,
    sort: Sort,
    rows: usize,
) -> String {
    let mut out = format!("{}, {}\n", server(url, sample), counts(sample, movement));
    let widths = Widths::PLAIN;
    let topics = topics(sample, movement, sort, &widths);
    for (heading, lines) in [
        (topics_heading(&widths), topics),
        (laggards_heading(&widths), laggards(sample, &widths)),
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

fn server(url: &str, sample: &Sample) -> String {
    let health = &sample.health;
    format!(
        "threadcast {} at {}: up {}",
        printable::text(&health.version),
        printable::text(url),
        uptime(health.uptime_sec),
    )
}

fn counts(sample: &Sample, movement: &Movement) -> String {
    let health = &sample.health;
    format!(
        "{} topics, {} subscriptions, {} connections, {} retained, {} deliveries/s",
        health.topics,
        health.subscribers,
        health.connections,
        bytes(health.retained_bytes),
        movement.delivered.map_or("–".to_owned(), rate),
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

fn topics(sample: &Sample, movement: &Movement, sort: Sort, widths: &Widths) -> Vec<String> {
    let mut topics: Vec<(&String, &TopicStats)> = sample.topics.iter().collect();
    let messages = |name: &str| movement.of(name).map_or(0.0, |rates| rates.messages);
    // They come by name, and a stable sort keeps that among equals.
    match sort {
        Sort::Name => {}
        Sort::Subscribers => topics.sort_by_key(|(_, stats)| Reverse(stats.subscribers)),
        Sort::Rate => topics.sort_by(|a, b| messages(b.0).total_cmp(&messages(a.0))),
        Sort::Messages => topics.sort_by_key(|(_, stats)| Reverse(stats.messages)),
        Sort::History => topics.sort_by_key(|(_, stats)| Reverse(stats.history.bytes)),
        Sort::Dropped => topics.sort_by_key(|(_, stats)| Reverse(stats.dropped)),
    }
    let line = |(name, stats): (&String, &TopicStats)| {
        let rates = movement.of(name);
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

fn laggards_heading(widths: &Widths) -> String {
    format!(
        "{:>7} {:>8} {} {} {} {:>7} {:>10}",
        "LAG",
        "DROPPED",
        widths.fit("TOPIC", widths.laggard_topic),
        widths.fit("CLIENT", widths.client),
        widths.fit("ADDRESS", widths.address),
        "IDLE",
        "UNSENT"
    )
}

/// The subscriptions, those that lag most first.
fn laggards(sample: &Sample, widths: &Widths) -> Vec<String> {
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
            widths.fit(&one.topic, widths.laggard_topic),
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
    fn sizes_and_times_are_short() {
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
    fn figures_fit_into_eighty_columns_however_long_the_names() {
        for columns in [80, 100, 120, 200] {
            let widths = Widths::within(columns);
            for name in ["a", &"long".repeat(30), &"日本".repeat(30)] {
                let topic = widths.fit(name, widths.topic);
                let laggard = [widths.laggard_topic, widths.client, widths.address];
                let laggard: usize = laggard
                    .iter()
                    .map(|width| measure(name, &widths, *width))
                    .sum();
                assert!(measure_text_width(&topic) + TOPIC_FIGURES <= columns);
                assert!(laggard + LAGGARD_FIGURES <= columns, "{columns}: {name}");
            }
            assert!(measure_text_width(&topics_heading(&widths)) <= columns);
            assert!(measure_text_width(&laggards_heading(&widths)) <= columns);
        }
    }

    fn measure(name: &str, widths: &Widths, width: usize) -> usize {
        measure_text_width(&widths.fit(name, width))
    }

    #[test]
    fn rows_that_have_no_room_are_counted() {
        let rows = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(first(rows(3), 3), ["0", "1", "2"]);
        assert_eq!(first(rows(5), 3), ["0", "1", "… and 3 more"]);
        assert!(first(rows(5), 0).is_empty());
    }
}
