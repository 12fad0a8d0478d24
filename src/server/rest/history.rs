//! `GET /topics/{name}/messages`: reads the history, all of it or a part.

use std::io::{self, Write};

use serde::Serialize;

use super::{Api, problems};
use crate::broker::HistoryPage;
use crate::protocol::{StartAt, TopicName};
use crate::server::http::large_responses::BoundedBody;
use crate::server::http::response::JSON;
use crate::server::http::{Problem, Request, Response};

/// The largest size of a page without its events: names, numbers and a gap.
const MAX_FRAME_BYTES: usize = 512;

impl Api {
    pub(super) fn read_messages(
        &self,
        name: &TopicName,
        start_at: &StartAt,
        request: &Request,
    ) -> Result<Response, Problem> {
        let max_bytes = request.max_response_bytes;
        let read = self
            .broker
            .read_history(name, start_at, |page| page_json(name, page, max_bytes))
            .map_err(|error| problems::topic_refused(name, error))?;
        let written = read.map_err(|error| problems::history_refused(&error))?;
        Ok(match written {
            Ok(body) => Response::new(200, JSON, body.finish()),
            Err(response) => response,
        })
    }
}

/// Copies the events once, from the log into the body.
fn page_json(
    topic: &TopicName,
    page: &HistoryPage<'_>,
    max_bytes: usize,
) -> Result<BoundedBody, Response> {
    let expected = page.max_bytes() + MAX_FRAME_BYTES;
    let mut body = BoundedBody::new(expected, max_bytes)?;
    let written = write_page(&mut body, topic, page);
    written.map_err(|_| Response::needs_memory(expected * 2))?;
    Ok(body)
}

/// Writes the JSON by hand, because the events are JSON already and need not be parsed.
fn write_page(body: &mut BoundedBody, topic: &TopicName, page: &HistoryPage<'_>) -> io::Result<()> {
    write_field(body, "{", "topic", &topic.as_str())?;
    write_field(body, ",", "epoch", &page.epoch.as_str())?;
    write_field(body, ",", "seq", &page.seq)?;
    body.write_all(br#","events":["#)?;
    for (at, event) in page.events().enumerate() {
        body.write_all(if at == 0 { b"" } else { b"," })?;
        body.write_all(event.as_bytes())?;
    }
    body.write_all(b"]")?;
    if let Some(gap) = &page.gap {
        write_field(body, ",", "gap", gap)?;
    }
    body.write_all(b"}")
}

fn write_field(
    body: &mut BoundedBody,
    before: &str,
    name: &str,
    value: &impl Serialize,
) -> io::Result<()> {
    write!(body, "{before}\"{name}\":")?;
    serde_json::to_writer(body, value).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Server, get, post, problem};

    #[test]
    fn the_history_is_read_whole_or_in_part_and_tells_its_gap() {
        let server = Server::new();
        let small = br#"{"name":"t","history_size":3,"max_queue_size":1}"#;
        assert_eq!(server.answer(&post("/topics", small)).0, 201);
        let empty = format!(
            r#"{{"topic":"t","epoch":"{}","seq":0,"events":[]}}"#,
            server.epoch("t")
        );
        assert_eq!(server.answer(&get("/topics/t/messages")), (200, empty));

        (1..=5).for_each(|n| server.publish("t", &n.to_string()));
        let epoch = server.epoch("t");
        let evicted = r#"{"from_seq":1,"to_seq":2,"count":2,"reason":"history_evicted"}"#;
        let foreign = r#"{"reason":"epoch_changed"}"#;
        for (query, expected, gap) in [
            ("last_n=2", &[4, 5][..], "null"),
            ("last_n=0", &[], "null"),
            ("last_n=50", &[3, 4, 5], "null"),
            ("after_seq=3", &[4, 5], "null"),
            ("after_seq=5", &[], "null"),
            ("after_seq=0", &[3, 4, 5], evicted),
            ("after_seq=2&epoch=EPOCH", &[3, 4, 5], "null"),
            ("after_seq=9&epoch=other", &[3, 4, 5], foreign),
        ] {
            let query = query.replace("EPOCH", &epoch);
            let page = server.json(&get(&format!("/topics/t/messages?{query}")));
            let events = page["events"].as_array().unwrap();
            let payloads: Vec<_> = events
                .iter()
                .map(|event| &event["message"]["payload"])
                .collect();
            assert_eq!(payloads, expected, "{query}");
            let gap: serde_json::Value = serde_json::from_str(gap).unwrap();
            assert_eq!((&page["gap"], &page["seq"]), (&gap, &5.into()), "{query}");
            assert_eq!(page.get("gap").is_some(), !gap.is_null(), "{query}");
        }
        let ahead = server.answer(&get("/topics/t/messages?after_seq=6"));
        let detail = "after_seq is ahead of the topic";
        let expected = problem(422, "VALIDATION_ERROR", "Unprocessable Content", detail);
        assert_eq!(ahead, (422, expected));
    }
}
