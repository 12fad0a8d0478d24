//! `GET /topics/{name}/messages`: the history is read back, whole or in part.

use serde::Serialize;

use super::query::read_history_query;
use super::{Api, problems};
use crate::broker::{HistoryPage, Topic};
use crate::protocol::TopicName;
use crate::server::http::message::JSON;
use crate::server::http::{Problem, Request, Response};

impl Api {
    pub(super) fn read_messages(
        &self,
        name: &TopicName,
        request: &Request,
    ) -> Result<Response, Problem> {
        let start_at = read_history_query(request.query.as_deref())?;
        let topic = self.topic(name)?;
        let page = topic
            .history(&start_at)
            .map_err(|error| problems::history_refused(&error))?;
        Ok(Response::new(200, JSON, page_json(&topic, &page)))
    }
}

/// Written by hand, because the events are finished JSON that need not be read again.
fn page_json(topic: &Topic, page: &HistoryPage) -> Vec<u8> {
    let events: usize = page.events.iter().map(|event| event.len() + 1).sum();
    let mut body = Vec::with_capacity(events + 256);
    push_field(&mut body, b'{', "topic", &topic.name().as_str());
    push_field(&mut body, b',', "epoch", &topic.epoch());
    push_field(&mut body, b',', "seq", &page.seq);
    body.extend_from_slice(br#","events":["#);
    for (at, event) in page.events.iter().enumerate() {
        body.extend_from_slice(if at == 0 { b"" } else { b"," });
        body.extend_from_slice(event.as_bytes());
    }
    body.push(b']');
    if let Some(gap) = &page.gap {
        push_field(&mut body, b',', "gap", gap);
    }
    body.push(b'}');
    body
}

fn push_field(body: &mut Vec<u8>, before: u8, name: &str, value: &impl Serialize) {
    body.push(before);
    body.extend_from_slice(format!("\"{name}\":").as_bytes());
    // Strings, numbers and gaps always serialize, and writing to a Vec cannot fail.
    let _ = serde_json::to_writer(body, value);
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
