//! The live view and the plain text: which lines, in which order. No I/O.

use std::fmt::Write;
use std::time::Duration;

use super::super::printable;
use super::Sort;
use super::figures::{bytes, rate, uptime};
use super::keys::Key;
use super::sample::{RateTable, Sample};
use super::selection::{Listing, Selection};
use super::tables::{
    Widths, around, first, lagging, lagging_heading, sorted_topics, subscribers_of, topics,
    topics_heading,
};
use super::watch::Answer;

const BOLD: &str = "\x1b[1m";
const REVERSED: &str = "\x1b[7m";
const PLAIN: &str = "\x1b[0m";
/// Lines other than rows: server, counts, status, two headings, a blank line after each table, two of keys.
const FIXED_LINES: usize = 9;

/// The state of the live view.
#[derive(Debug)]
pub(super) struct State {
    sample: Sample,
    rate_table: RateTable,
    sort: Sort,
    selection: Selection,
    /// The error of the last request, if it failed.
    error: Option<String>,
    version: u64,
}

impl State {
    pub(super) fn new(sample: Sample, sort: Sort, selection: Selection) -> State {
        State {
            sample,
            rate_table: RateTable::default(),
            sort,
            selection,
            error: None,
            version: 0,
        }
    }

    /// Changes whenever the view changes.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The topic whose subscribers are shown.
    pub(super) fn open(&self) -> Option<&str> {
        self.selection.open()
    }

    /// Carries out the action of a key that does not end the program.
    pub(super) fn press(&mut self, key: Key) {
        match key {
            Key::Quit => {}
            Key::Sort(sort) => self.sort = sort,
            Key::Up => self.select(-1),
            Key::Down => self.select(1),
            Key::Toggle => self.selection.toggle(),
            Key::Close => self.selection.close(),
        }
        self.version += 1;
    }

    fn select(&mut self, lines: isize) {
        let topics = sorted_topics(&self.sample, &self.rate_table, self.sort);
        let names: Vec<&str> = topics.iter().map(|(name, _)| name.as_str()).collect();
        self.selection.go(&names, lines);
    }

    pub(super) fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Sample(Ok(sample)) => {
                self.rate_table = RateTable::between(&self.sample, &sample);
                self.sample = *sample;
                self.error = None;
            }
            Answer::Sample(Err(error)) => self.error = Some(error.to_string()),
            Answer::Listing(listing) => self.selection.take(listing),
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
        let sorted = sorted_topics(&self.sample, &self.rate_table, self.sort);
        let selected = self.selection.selected();
        let selected = sorted
            .iter()
            .position(|(name, _)| Some(name.as_str()) == selected);
        let mut topics = topics(&sorted, &self.rate_table, &widths);
        if let Some(line) = selected.and_then(|at| topics.get_mut(at)) {
            *line = format!("{REVERSED}{line}{PLAIN}");
        }
        let (heading, second) = match self.open() {
            Some(topic) => subscribers_of(topic, self.selection.listing(), &widths),
            None => (lagging_heading(&widths), lagging(&self.sample, &widths)),
        };
        let room = height.saturating_sub(FIXED_LINES);
        let for_second = second.len().min(room / 2);
        let topic_rows = topics.len().min(room - for_second);
        let mut lines = vec![server(&self.sample), counts(&self.sample, &self.rate_table)];
        lines.push(match (&self.error, behind) {
            (Some(error), _) => {
                format!("{BOLD}disconnected{PLAIN}: {}", printable::text(error))
            }
            (None, Some(seconds)) => format!("no answer for {seconds} s"),
            (None, None) => String::new(),
        });
        lines.push(format!("{BOLD}{}{PLAIN}", topics_heading(&widths)));
        lines.extend(around(selected, topics, topic_rows));
        lines.push(String::new());
        lines.push(format!("{BOLD}{heading}{PLAIN}"));
        lines.extend(first(second, room - topic_rows));
        lines.push(String::new());
        lines.push(self.keys_of_topics());
        lines.push(self.keys());
        lines.truncate(height);
        lines
    }

    fn keys_of_topics(&self) -> String {
        let toggle = match self.open() {
            Some(_) => "hide its subscribers",
            None => "show its subscribers",
        };
        format!("topic: ↑ ↓ select  Enter {toggle}")
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

/// The subscribers of a topic as a plain table.
pub(super) fn plain_subscribers(listing: &Listing) -> String {
    let (heading, rows) = subscribers_of(&listing.topic, Some(listing), &Widths::PLAIN);
    let mut out = format!("\n{heading}\n");
    for row in rows {
        let _ = writeln!(out, "{row}");
    }
    out
}

/// Both tables as plain text, with at most `rows` rows each.
pub(super) fn plain(sample: &Sample, rate_table: &RateTable, sort: Sort, rows: usize) -> String {
    let mut out = format!("{}, {}\n", server(sample), counts(sample, rate_table));
    let widths = Widths::PLAIN;
    let sorted = sorted_topics(sample, rate_table, sort);
    let topics = topics(&sorted, rate_table, &widths);
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
