//! The series of topics: of as many as the settings allow, those with the most messages.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::broker::Topic;
use crate::metrics::{Families, Unit, Value};

/// The figures of one topic.
struct Figures {
    published: u64,
    dropped: u64,
    subscriptions: usize,
    history_bytes: usize,
    lag_max: u64,
}

pub(super) fn push_topics(page: &mut Families, topics: &[Arc<Topic>], max: usize) {
    let all = topics.len();
    let shown: Vec<_> = busiest(topics, max)
        .iter()
        .map(|topic| (topic.name().as_str().to_owned(), figures(topic)))
        .collect();
    let mut push = |name, help, unit, value: fn(&Figures) -> Value| {
        let sample =
            |(topic, figures): &(String, Figures)| (vec![("topic", topic.clone())], value(figures));
        page.push(name, help, unit, shown.iter().map(sample).collect());
    };
    push(
        "pubsub_topic_messages_published",
        "Messages published to the topic since it was created",
        None,
        |topic| Value::Count(topic.published),
    );
    push(
        "pubsub_topic_messages_dropped",
        "Events of the topic skipped for slow subscribers, once for each",
        None,
        |topic| Value::Count(topic.dropped),
    );
    push(
        "pubsub_topic_subscriptions",
        "Subscriptions of the topic",
        None,
        |topic| Value::Gauge(topic.subscriptions as u64),
    );
    push(
        "pubsub_topic_history",
        "Retained events of the topic",
        Some(Unit::Bytes),
        |topic| Value::Gauge(topic.history_bytes as u64),
    );
    push(
        "pubsub_topic_lag_max",
        "How many live events the subscription of the topic furthest behind is behind the newest",
        None,
        |topic| Value::Gauge(topic.lag_max),
    );
    page.gauge(
        "pubsub_topics_without_series",
        "Topics beyond those with the most messages, which alone have series of their own",
        all.saturating_sub(max),
    );
}

/// The topics with the most messages, sorted by name. Of topics with equally many, the first by name.
fn busiest(topics: &[Arc<Topic>], max: usize) -> Vec<&Topic> {
    let mut topics: Vec<&Topic> = topics.iter().map(|topic| &**topic).collect();
    if topics.len() > max {
        topics.sort_by_cached_key(|topic| Reverse(topic.message_count()));
        topics.truncate(max);
        topics.sort_unstable_by(|a, b| a.name().cmp(b.name()));
    }
    topics
}

fn figures(topic: &Topic) -> Figures {
    let mut lag_max = 0;
    topic.each_subscription(|one| lag_max = lag_max.max(one.lag().unwrap_or(0)));
    Figures {
        published: topic.message_count(),
        dropped: topic.dropped(),
        subscriptions: topic.subscriber_count(),
        history_bytes: topic.history_bytes(),
        lag_max,
    }
}
