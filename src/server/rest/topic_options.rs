//! Parses the bodies of `POST /topics` and `PATCH /topics/{name}`. Does not know the topics that exist.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::value::RawValue;

use super::body::read_object;
use super::problems;
use crate::broker::TopicOptions;
use crate::config::{OverflowPolicy, ranges};
use crate::protocol::{InvalidName, TopicName, as_string, as_whole_number, is_null};
use crate::server::http::{Problem, Request};

const FIELDS: [&str; 6] = [
    "name",
    "history_size",
    "max_queue_size",
    "overflow",
    "history_ttl_secs",
    "idle_secs",
];

/// The name and the options of the new topic. `null` counts as an absent field.
pub(super) fn read_new_topic(request: &Request) -> Result<(TopicName, TopicOptions), Problem> {
    let [name, options @ ..] = read_fields(request)?;
    Ok((read_name(name)?, read_options(options)?))
}

/// The options that a topic is to have from now on. Those that are absent or `null` stay as they are.
pub(super) fn read_change(request: &Request) -> Result<TopicOptions, Problem> {
    let [name, options @ ..] = read_fields(request)?;
    match name {
        Some(_) => Err(problems::invalid("name cannot be changed")),
        None => read_options(options),
    }
}

fn read_fields(request: &Request) -> Result<[Option<&RawValue>; FIELDS.len()], Problem> {
    let fields = read_object(request, &FIELDS)?;
    Ok(fields.map(|field| field.filter(|value| !is_null(value))))
}

fn read_options(fields: [Option<&RawValue>; FIELDS.len() - 1]) -> Result<TopicOptions, Problem> {
    let [
        history_size,
        max_queue_size,
        overflow,
        history_ttl_secs,
        idle_secs,
    ] = fields;
    Ok(TopicOptions {
        history_size: read_count("history_size", &ranges::HISTORY_SIZE, history_size)?,
        max_queue_size: read_count("max_queue_size", &ranges::MAX_QUEUE_SIZE, max_queue_size)?,
        overflow: overflow.map(read_overflow).transpose()?,
        history_ttl: read_seconds("history_ttl_secs", &ranges::HISTORY_TTL, history_ttl_secs)?,
        idle: read_seconds("idle_secs", &ranges::TOPIC_IDLE, idle_secs)?,
    })
}

fn read_name(field: Option<&RawValue>) -> Result<TopicName, Problem> {
    let value = field.ok_or_else(|| problems::invalid("name is required"))?;
    let name = as_string(value).ok_or_else(|| problems::invalid("name must be a string"))?;
    TopicName::new(&name).map_err(invalid_name)
}

/// The rule's own text; the field that it calls `topic` is called `name` here.
fn invalid_name(error: InvalidName) -> Problem {
    problems::invalid(error.to_string().replacen("topic", "name", 1))
}

fn read_count(
    name: &str,
    range: &RangeInclusive<usize>,
    field: Option<&RawValue>,
) -> Result<Option<usize>, Problem> {
    let Some(value) = field else { return Ok(None) };
    let count = as_whole_number(value).and_then(|count| usize::try_from(count).ok());
    in_range(count, range, |least, most| {
        format!("{name} must be an integer from {least} to {most}")
    })
}

fn read_seconds(
    name: &str,
    range: &RangeInclusive<Duration>,
    field: Option<&RawValue>,
) -> Result<Option<Duration>, Problem> {
    let Some(value) = field else { return Ok(None) };
    let seconds = serde_json::from_str(value.get()).ok();
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    in_range(time, range, |least, most| {
        let (least, most) = (least.as_secs(), most.as_secs());
        format!("{name} must be a number of seconds from {least} to {most}")
    })
}

/// A value that the field has, if it is one and in its range; else `rule` says what it must be.
fn in_range<T: PartialOrd>(
    value: Option<T>,
    range: &RangeInclusive<T>,
    rule: impl FnOnce(&T, &T) -> String,
) -> Result<Option<T>, Problem> {
    match value.filter(|value| range.contains(value)) {
        Some(value) => Ok(Some(value)),
        None => Err(problems::invalid(rule(range.start(), range.end()))),
    }
}

fn read_overflow(value: &RawValue) -> Result<OverflowPolicy, Problem> {
    let name = as_string(value).unwrap_or_default();
    name.parse::<OverflowPolicy>().map_err(problems::invalid)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::post;
    use super::*;

    fn read(body: &str) -> Result<(TopicName, TopicOptions), String> {
        let read = read_new_topic(&post("/topics", body.as_bytes()));
        read.map_err(|problem| {
            assert_eq!((problem.status, problem.code), (422, "VALIDATION_ERROR"));
            problem.detail
        })
    }

    #[test]
    fn absent_and_null_options_are_left_to_the_server() {
        for body in [
            r#"{"name":"t"}"#,
            r#"{"name":"t","history_size":null,"max_queue_size":null,"overflow":null,"history_ttl_secs":null,"idle_secs":null,"x":[1]}"#,
        ] {
            let (name, options) = read(body).unwrap();
            assert_eq!(name.as_str(), "t");
            assert_eq!(options, TopicOptions::default());
        }
    }

    #[test]
    fn options_reach_from_the_smallest_to_the_largest() {
        for (history, queue) in [(0, 1), (1_000_000, 1_000_000)] {
            let (_, options) = read(&format!(
                r#"{{"overflow":"block","max_queue_size":{queue},"history_size":{history},"name":"\u0074"}}"#
            ))
            .unwrap();
            assert_eq!(options.history_size, Some(history));
            assert_eq!(options.max_queue_size, Some(queue));
            assert_eq!(options.overflow, Some(OverflowPolicy::Block));
        }
    }

    #[test]
    fn a_number_is_whole_however_it_is_written() {
        let (_, options) =
            read(r#"{"name":"t","history_size":371592.0,"max_queue_size":1e3}"#).unwrap();
        assert_eq!(options.history_size, Some(371_592));
        assert_eq!(options.max_queue_size, Some(1000));
    }

    #[test]
    fn a_time_is_a_number_of_seconds_of_any_precision() {
        let body = r#"{"name":"t","history_ttl_secs":0.25,"idle_secs":3.6e3}"#;
        let (_, options) = read(body).unwrap();
        assert_eq!(options.history_ttl, Some(Duration::from_millis(250)));
        assert_eq!(options.idle, Some(Duration::from_secs(3_600)));
        let body = r#"{"name":"t","history_ttl_secs":0,"idle_secs":315360000}"#;
        let (_, options) = read(body).unwrap();
        assert_eq!(options.history_ttl, Some(Duration::ZERO));
        assert_eq!(options.idle, Some(*ranges::TOPIC_IDLE.end()));
    }

    #[test]
    fn a_change_takes_every_option_but_the_name() {
        let change = |body: &str| {
            let read = read_change(&post("/topics/t", body.as_bytes()));
            read.map_err(|problem| problem.detail)
        };
        assert_eq!(change("{}"), Ok(TopicOptions::default()));
        assert_eq!(change(r#"{"name":null}"#), Ok(TopicOptions::default()));
        let size = TopicOptions {
            history_size: Some(5),
            ..TopicOptions::default()
        };
        assert_eq!(change(r#"{"history_size":5,"x":1}"#), Ok(size));
        let refused = Err("name cannot be changed".to_owned());
        assert_eq!(change(r#"{"name":"t","history_size":5}"#), refused);
        let refused = Err("body: not a JSON object".to_owned());
        assert_eq!(change("[]"), refused);
    }

    #[test]
    fn a_wrong_field_is_named() {
        let rule = InvalidName::Topic.to_string().replacen("topic", "name", 1);
        assert!(
            rule.starts_with("name must be 1 to 128 characters"),
            "{rule}"
        );
        let history = "history_size must be an integer from 0 to 1000000";
        let queue = "max_queue_size must be an integer from 1 to 1000000";
        let ttl = "history_ttl_secs must be a number of seconds from 0 to 315360000";
        let idle = "idle_secs must be a number of seconds from 0 to 315360000";
        let overflow = "overflow must be drop_oldest, disconnect or block";
        for (fields, detail) in [
            (r#""history_size":5"#, "name is required"),
            (r#""name":null"#, "name is required"),
            (r#""name":5"#, "name must be a string"),
            (r#""name":["t"]"#, "name must be a string"),
            (r#""name":"""#, &rule),
            (r#""name":"a/b""#, &rule),
            (r#""name":".a""#, &rule),
            (r#""name":"t","history_size":-1"#, history),
            (r#""name":"t","history_size":1.5"#, history),
            (r#""name":"t","history_size":"5""#, history),
            (r#""name":"t","history_size":1000001"#, history),
            (r#""name":"t","history_size":99999999999999999999"#, history),
            (r#""name":"t","max_queue_size":0"#, queue),
            (r#""name":"t","max_queue_size":true"#, queue),
            (r#""name":"t","overflow":"BLOCK""#, overflow),
            (r#""name":"t","overflow":0"#, overflow),
            (r#""name":"t","history_ttl_secs":-1"#, ttl),
            (r#""name":"t","history_ttl_secs":"60""#, ttl),
            (r#""name":"t","history_ttl_secs":1e999"#, ttl),
            (r#""name":"t","idle_secs":315360001"#, idle),
            (r#""name":"t","idle_secs":true"#, idle),
            (
                r#""name":"t","name":"t""#,
                "body: field 'name' appears twice",
            ),
        ] {
            assert_eq!(
                read(&format!("{{{fields}}}")).unwrap_err(),
                detail,
                "{fields}"
            );
        }
        assert!(read(&format!(r#"{{"name":"{}"}}"#, "a".repeat(129))).is_err());
    }
}
