//! Parses the body of `POST /topics`. Does not know the topics that exist.

use std::ops::RangeInclusive;

use serde_json::value::RawValue;

use super::body::read_object;
use super::problems;
use crate::broker::TopicOptions;
use crate::config::{OverflowPolicy, ranges};
use crate::protocol::{InvalidName, TopicName, as_string, as_whole_number, is_null};
use crate::server::http::{Problem, Request};

const FIELDS: [&str; 4] = ["name", "history_size", "max_queue_size", "overflow"];

/// The name and the options of the new topic. `null` counts as an absent field.
pub(super) fn read_new_topic(request: &Request) -> Result<(TopicName, TopicOptions), Problem> {
    let [name, history_size, max_queue_size, overflow] =
        read_object(request, &FIELDS)?.map(|field| field.filter(|value| !is_null(value)));
    let name = read_name(name)?;
    let options = TopicOptions {
        history_size: read_count("history_size", &ranges::HISTORY_SIZE, history_size)?,
        max_queue_size: read_count("max_queue_size", &ranges::MAX_QUEUE_SIZE, max_queue_size)?,
        overflow: overflow.map(read_overflow).transpose()?,
    };
    Ok((name, options))
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
    match count.filter(|count| range.contains(count)) {
        Some(count) => Ok(Some(count)),
        None => {
            let (least, most) = (range.start(), range.end());
            let detail = format!("{name} must be an integer from {least} to {most}");
            Err(problems::invalid(detail))
        }
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
            r#"{"name":"t","history_size":null,"max_queue_size":null,"overflow":null,"x":[1]}"#,
        ] {
            let (name, options) = read(body).unwrap();
            assert_eq!(name.as_str(), "t");
            assert!(options.history_size.is_none() && options.max_queue_size.is_none());
            assert!(options.overflow.is_none());
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
    fn a_wrong_field_is_named() {
        let rule = InvalidName::Topic.to_string().replacen("topic", "name", 1);
        assert!(
            rule.starts_with("name must be 1 to 128 characters"),
            "{rule}"
        );
        let history = "history_size must be an integer from 0 to 1000000";
        let queue = "max_queue_size must be an integer from 1 to 1000000";
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
