//! The tables: topics, slow subscriptions and the subscribers of one topic, each a heading and rows.

use std::cmp::Reverse;

use console::{Alignment, pad_str};
use threadcast::client::{ConnectionState, SubscriberState, SubscriptionState, TopicStats};

use super::super::printable;
use super::Sort;
use super::figures::{bytes, rate};
use super::sample::{RateTable, Sample};
use super::selection::Listing;

/// Widths of the columns with names. The columns with numbers have fixed widths.
pub(super) struct Widths {
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
    pub(super) const PLAIN: Widths = Widths {
        topic: 32,
        lagging_topic: 24,
        client: 28,
        address: 22,
        cut: None,
    };

    /// For a terminal: names share the remaining width.
    pub(super) fn within(columns: usize) -> Widths {
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
pub(super) fn first(mut rows: Vec<String>, room: usize) -> Vec<String> {
    if rows.len() > room && room > 0 {
        let left_out = rows.len() - (room - 1);
        rows.truncate(room - 1);
        rows.push(format!("… and {left_out} more"));
    }
    rows.truncate(room);
    rows
}

/// As [`first`], but without the rows at the beginning for which there is no room if the selected one is to be there.
pub(super) fn around(selected: Option<usize>, mut rows: Vec<String>, room: usize) -> Vec<String> {
    // The last line may say how many there are more.
    let skipped = selected.map_or(0, |at| (at + 2).saturating_sub(room.max(2)));
    rows.drain(..skipped.min(rows.len().saturating_sub(room)));
    first(rows, room)
}

/// The heading and the rows of the subscribers of a topic.
pub(super) fn subscribers_of(
    topic: &str,
    listing: Option<&Listing>,
    widths: &Widths,
) -> (String, Vec<String>) {
    let topic = printable::text(topic);
    let (count, rows) = match listing.map(|listing| &listing.subscribers) {
        None => (String::new(), Vec::new()),
        Some(Err(error)) => (String::new(), vec![printable::text(error)]),
        Some(Ok(list)) => {
            let line = |one: &SubscriberState| {
                let client = widths.fit(&one.client_id, widths.client);
                format!("{client} {}", printable::text(&one.since))
            };
            let mut rows: Vec<_> = list.subscribers.iter().map(line).collect();
            let left_out = list.total.saturating_sub(rows.len() as u64);
            if left_out > 0 {
                rows.push(format!("… and {left_out} more"));
            }
            (format!("{} ", list.total), rows)
        }
    };
    let client = widths.fit("CLIENT", widths.client);
    let heading = format!("{client} {:27}  {count}subscribed to {topic}", "SINCE");
    (heading, rows)
}

pub(super) fn topics_heading(widths: &Widths) -> String {
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

pub(super) fn sorted_topics<'a>(
    sample: &'a Sample,
    rate_table: &RateTable,
    sort: Sort,
) -> Vec<(&'a String, &'a TopicStats)> {
    let mut topics: Vec<_> = sample.topics.iter().collect();
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
    topics
}

pub(super) fn topics(
    sorted: &[(&String, &TopicStats)],
    rate_table: &RateTable,
    widths: &Widths,
) -> Vec<String> {
    let line = |(name, stats): &(&String, &TopicStats)| {
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
    sorted.iter().map(line).collect()
}

pub(super) fn lagging_heading(widths: &Widths) -> String {
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
pub(super) fn lagging(sample: &Sample, widths: &Widths) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use console::measure_text_width;

    use super::*;

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

    #[test]
    fn the_selected_row_is_always_there() {
        let rows = || (0..6).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(around(None, rows(), 3), ["0", "1", "… and 4 more"]);
        assert_eq!(around(Some(1), rows(), 3), ["0", "1", "… and 4 more"]);
        assert_eq!(around(Some(2), rows(), 3), ["1", "2", "… and 3 more"]);
        assert_eq!(around(Some(5), rows(), 3), ["3", "4", "5"]);
        assert_eq!(around(Some(5), rows(), 6), rows());
        for room in 2..8 {
            for at in 0..6 {
                let shown = around(Some(at), rows(), room);
                assert!(shown.contains(&at.to_string()), "{at} in {room}: {shown:?}");
                assert!(shown.len() <= room);
            }
        }
        assert!(around(Some(5), rows(), 0).is_empty());
    }
}
