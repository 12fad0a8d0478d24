//! The queries: which part of a history is requested, how much of a list, and which format of the metrics.

use std::ops::RangeInclusive;

use super::problems;
use crate::metrics::Format;
use crate::protocol::{StartAt, TopicFilter};
use crate::server::http::{Problem, target};

/// How many connections or subscribers are listed if the query has no limit.
const DEFAULT_LIMIT: usize = 1000;

/// How many subscribers a list may show.
const SUBSCRIBER_LIMITS: RangeInclusive<usize> = 1..=100_000;

/// No history is longer than this.
const EVERYTHING: StartAt = StartAt::Last(u64::MAX);

/// Where to start reading.
#[derive(Default)]
pub(super) struct Parameters {
    last_n: Option<u64>,
    after_seq: Option<u64>,
    epoch: Option<String>,
}

/// Reads a raw query. Without parameters it requests everything.
pub(super) fn read_history_query(query: Option<&str>) -> Result<StartAt, Problem> {
    let mut parameters = Parameters::default();
    for (name, value) in
        target::query_pairs(query.unwrap_or_default()).map_err(problems::malformed_query)?
    {
        parameters.set(&name, value)?;
    }
    Ok(parameters.start_at()?.unwrap_or(EVERYTHING))
}

/// Reads a raw query that may have this one parameter.
fn read_single(query: Option<&str>, known: &str) -> Result<Option<String>, Problem> {
    let mut found = None;
    for (name, value) in
        target::query_pairs(query.unwrap_or_default()).map_err(problems::malformed_query)?
    {
        if name != known {
            return Err(unknown(&name));
        }
        if found.replace(value).is_some() {
            return Err(repeated(&name));
        }
    }
    Ok(found)
}

pub(super) fn unknown(name: &str) -> Problem {
    problems::invalid(format!("unknown query parameter '{name}'"))
}

pub(super) fn repeated(name: &str) -> Problem {
    problems::invalid(format!("query parameter '{name}' appears twice"))
}

impl Parameters {
    pub(super) fn set(&mut self, name: &str, value: String) -> Result<(), Problem> {
        let is_repeated = match name {
            "last_n" => self.last_n.replace(whole_number(name, &value)?).is_some(),
            "after_seq" => self
                .after_seq
                .replace(whole_number(name, &value)?)
                .is_some(),
            "epoch" => self.epoch.replace(value).is_some(),
            _ => return Err(unknown(name)),
        };
        if is_repeated {
            return Err(repeated(name));
        }
        Ok(())
    }

    /// `None` without parameters.
    pub(super) fn start_at(self) -> Result<Option<StartAt>, Problem> {
        match (self.last_n, self.after_seq, self.epoch) {
            (None, None, None) => Ok(None),
            (Some(n), None, None) => Ok(Some(StartAt::Last(n))),
            (None, Some(seq), epoch) => Ok(Some(StartAt::After { seq, epoch })),
            (Some(_), Some(_), _) => {
                Err(problems::invalid("after_seq and last_n exclude each other"))
            }
            (_, None, Some(_)) => Err(problems::invalid("epoch needs after_seq")),
        }
    }
}

/// Reads the query of the list of connections: how many of them to show.
pub(super) fn read_limit(query: Option<&str>) -> Result<usize, Problem> {
    let limit = match read_single(query, "limit")? {
        Some(value) => whole_number("limit", &value)?,
        None => return Ok(DEFAULT_LIMIT),
    };
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Reads the query of the list of subscribers: how many of them to show.
pub(super) fn read_subscriber_limit(query: Option<&str>) -> Result<usize, Problem> {
    let Some(value) = read_single(query, "limit")? else {
        return Ok(DEFAULT_LIMIT);
    };
    let limit = whole_number("limit", &value).ok();
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    limit
        .filter(|limit| SUBSCRIBER_LIMITS.contains(limit))
        .ok_or_else(|| {
            let (least, most) = (SUBSCRIBER_LIMITS.start(), SUBSCRIBER_LIMITS.end());
            problems::invalid(format!("limit must be an integer from {least} to {most}"))
        })
}

/// Reads the query of the list of topics: which of them to show; `None` for all. Other parameters are ignored.
pub(super) fn read_match(query: Option<&str>) -> Result<Option<TopicFilter>, Problem> {
    let pairs =
        target::query_pairs(query.unwrap_or_default()).map_err(problems::malformed_query)?;
    let mut texts = pairs.into_iter().filter(|(name, _)| name == "match");
    let text = texts.next().map(|(_, text)| text);
    if texts.next().is_some() {
        return Err(repeated("match"));
    }
    let filter = text.map(|text| TopicFilter::parse(&text)).transpose();
    filter.map_err(|error| problems::invalid(format!("match: {error}")))
}

/// Reads the query of the metrics.
pub(super) fn read_format(query: Option<&str>) -> Result<Option<Format>, Problem> {
    match read_single(query, "format")?.as_deref() {
        None => Ok(None),
        Some("openmetrics") => Ok(Some(Format::OpenMetrics)),
        Some("prometheus") => Ok(Some(Format::Prometheus)),
        Some(_) => Err(problems::invalid(
            "format must be openmetrics or prometheus",
        )),
    }
}

/// Digits only; a number too large for 64 bits is the largest.
pub(super) fn whole_number(name: &str, value: &str) -> Result<u64, Problem> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        let detail = format!("{name} must be an integer of at least 0");
        return Err(problems::invalid(detail));
    }
    Ok(value.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_a_part_of_the_history() {
        let after = |seq, epoch: Option<&str>| StartAt::After {
            seq,
            epoch: epoch.map(str::to_owned),
        };
        for (query, expected) in [
            ("", EVERYTHING),
            ("&&", EVERYTHING),
            ("last_n=10", StartAt::Last(10)),
            ("last_n=0", StartAt::Last(0)),
            ("last_n=99999999999999999999", StartAt::Last(u64::MAX)),
            ("%6cast_n=%31", StartAt::Last(1)),
            ("after_seq=41", after(41, None)),
            ("epoch=a%26b=c&after_seq=007", after(7, Some("a&b=c"))),
            ("after_seq=0&epoch=", after(0, Some(""))),
        ] {
            assert_eq!(
                read_history_query(Some(query)).unwrap(),
                expected,
                "{query}"
            );
        }
        assert_eq!(read_history_query(None).unwrap(), EVERYTHING);
    }

    #[test]
    fn a_list_of_subscribers_shows_one_to_a_hundred_thousand() {
        for (query, expected) in [
            (None, DEFAULT_LIMIT),
            (Some(""), DEFAULT_LIMIT),
            (Some("limit=1"), 1),
            (Some("limit=100000"), 100_000),
        ] {
            assert_eq!(read_subscriber_limit(query), Ok(expected), "{query:?}");
        }
        let range = "limit must be an integer from 1 to 100000";
        for (query, detail) in [
            ("limit=0", range),
            ("limit=100001", range),
            ("limit=99999999999999999999", range),
            ("limit=", range),
            ("limit=-1", range),
            ("limit=x", range),
            ("limit=1&limit=1", "query parameter 'limit' appears twice"),
            ("top=1", "unknown query parameter 'top'"),
        ] {
            let problem = read_subscriber_limit(Some(query)).unwrap_err();
            let shown = (problem.status, problem.detail.as_str());
            assert_eq!(shown, (422, detail), "{query}");
        }
    }

    #[test]
    fn a_wrong_query_says_what_is_wrong() {
        let last_n = "last_n must be an integer of at least 0";
        let after_seq = "after_seq must be an integer of at least 0";
        for (query, status, detail) in [
            ("last_n", 422, last_n),
            ("last_n=", 422, last_n),
            ("last_n=-1", 422, last_n),
            ("last_n=+1", 422, last_n),
            ("last_n=1.0", 422, last_n),
            ("last_n=null", 422, last_n),
            ("last_n=%D9%A1", 422, last_n),
            ("after_seq=x", 422, after_seq),
            ("LAST_N=1", 422, "unknown query parameter 'LAST_N'"),
            ("=1", 422, "unknown query parameter ''"),
            ("last_n=1&token=s", 422, "unknown query parameter 'token'"),
            (
                "last_n=1&last_n=1",
                422,
                "query parameter 'last_n' appears twice",
            ),
            (
                "epoch=a&epoch=a&after_seq=1",
                422,
                "query parameter 'epoch' appears twice",
            ),
            (
                "last_n=0&after_seq=1",
                422,
                "after_seq and last_n exclude each other",
            ),
            ("epoch=e", 422, "epoch needs after_seq"),
            ("last_n=1&epoch=e", 422, "epoch needs after_seq"),
            ("epoch=%ff&after_seq=1", 422, "The target is not UTF-8"),
            (
                "epoch=%f&after_seq=1",
                400,
                "The target has a broken percent-encoding",
            ),
            ("%=1", 400, "The target has a broken percent-encoding"),
        ] {
            let problem = read_history_query(Some(query)).unwrap_err();
            let told = (problem.status, problem.detail.as_str());
            assert_eq!(told, (status, detail), "{query}");
        }
    }
}
