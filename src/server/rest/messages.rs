//! `POST /topics/{name}/messages`: publishes a message.
//!
//! The handler never waits. While the topic is full, its response tells the size of the event; the connection's thread
//! waits in the line of the topic, not a worker, and sends the request to a worker again.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::body::read_object;
use super::{Api, Route, problems};
use crate::broker::{Broker, Place, PublishError, ReadBatch, WaitError};
use crate::protocol::{
    InvalidMessage, Message, Timestamp, TopicName, as_string, is_null, read_idempotent,
};
use crate::server::http::response::Retry;
use crate::server::http::{Problem, Request, Response};

const FIELDS: [&str; 3] = ["id", "payload", "idempotent"];

#[derive(Serialize)]
struct Published<'a> {
    status: &'static str,
    topic: &'a str,
    id: &'a str,
    seq: u64,
    epoch: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

impl Api {
    /// Publishes without waiting. If the topic is full, the response carries [`Retry::Publish`].
    pub(super) fn publish_message(
        &self,
        name: &TopicName,
        request: &Request,
    ) -> Result<Response, Problem> {
        self.refuse_while_draining()?;
        let arrived = Timestamp::now();
        let message = read_message(request)?;
        let mut batch = ReadBatch::default();
        let (topic, place) = (name.as_str(), request.place);
        let published = self
            .broker
            .publish(topic, &message, arrived, place, &mut batch);
        let published = match published {
            Ok(published) => published,
            Err(error) => return Ok(refused(name, &error)),
        };
        let body = Published {
            status: "ok",
            topic,
            id: message.id(),
            seq: published.seq,
            epoch: published.epoch.as_str(),
            duplicate: published.is_duplicate,
        };
        let status = if published.is_duplicate { 200 } else { 201 };
        Ok(Response::json(status, &body))
    }
}

fn refused(name: &TopicName, error: &PublishError) -> Response {
    let response = Response::from(&problems::publish_refused(name, error));
    match *error {
        PublishError::Full { event_bytes } => response.with_retry(Retry::Publish { event_bytes }),
        _ => response,
    }
}

/// The wait of one publish for room in its topic, on the connection's thread.
#[derive(Default)]
pub(crate) struct PublishWait {
    place: Option<Place>,
    batch: ReadBatch,
}

impl PublishWait {
    /// Waits until the topic has room for an event of this size, and notes the place of the request in its line. A client
    /// that has closed its side ends only the wait for a slow subscriber: it may still read the response.
    pub(crate) fn wait(
        &mut self,
        broker: &Broker,
        request: &mut Request,
        event_bytes: usize,
        has_left: impl Fn() -> bool,
        is_refused: impl Fn() -> bool,
    ) -> Result<(), WaitError> {
        let Route::PublishMessage(name) = &request.route else {
            return Ok(());
        };
        // A topic that was deleted meanwhile is reported by the handler.
        let Some(topic) = broker.topic(name.as_str()) else {
            return Ok(());
        };
        let place = self.place.take().filter(|place| place.is_of(&topic));
        let place = self
            .place
            .insert(place.unwrap_or_else(|| topic.join_line()));
        let may_take_long = place.waits_for_subscribers();
        let is_cancelled = || is_refused() || (may_take_long && has_left());
        place.wait(event_bytes, &mut self.batch, is_cancelled)?;
        request.place = Some(place.ticket());
        Ok(())
    }
}

fn read_message(request: &Request) -> Result<Message<'_>, Problem> {
    let [id, payload, idempotent] = read_object(request, &FIELDS)?;
    let payload = payload.ok_or_else(|| problems::invalid("payload is required"))?;
    let [id, idempotent] = [id, idempotent].map(|field| field.filter(|field| !is_null(field)));
    let has_id = id.is_some();
    let message = Message::new(read_id(id)?, payload).map_err(invalid_message)?;
    match read_idempotent(idempotent).map_err(problems::invalid)? {
        true if !has_id => Err(problems::invalid("id is required with idempotent")),
        true => Ok(message.idempotent()),
        false => Ok(message),
    }
}

/// The id of the message, or a new one.
fn read_id(field: Option<&RawValue>) -> Result<Cow<'_, str>, Problem> {
    match field {
        Some(id) => as_string(id).ok_or_else(|| invalid_message(InvalidMessage::Id)),
        None => Ok(Uuid::new_v4().to_string().into()),
    }
}

/// The text of the rule without `message.`: here the message is the whole body.
fn invalid_message(error: InvalidMessage) -> Problem {
    let text = error.to_string();
    problems::invalid(text.strip_prefix("message.").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Server, get, post, problem};
    use super::*;
    use crate::broker::PublishError;

    const ID: &str = "550e8400-e29b-41d4-a716-446655440000";

    fn publish(server: &Server, body: &str) -> (u16, String) {
        server.answer(&post("/topics/t/messages", body.as_bytes()))
    }

    fn server() -> Server {
        let server = Server::new();
        server.create("t");
        server
    }

    #[test]
    fn an_id_comes_back_as_it_was_given() {
        let server = server();
        let ids = [
            ID.to_owned(),
            ID.to_uppercase(),
            ID.replace('-', ""),
            format!("urn:uuid:{ID}"),
            format!("{{{ID}}}"),
        ];
        for (seq, id) in (1..).zip(&ids) {
            let body = format!(r#"{{"payload":1,"id":"{id}","topic":"ignored"}}"#);
            let epoch = server.epoch("t");
            let ok = format!(
                r#"{{"status":"ok","topic":"t","id":"{id}","seq":{seq},"epoch":"{epoch}"}}"#
            );
            assert_eq!(publish(&server, &body), (201, ok));
        }
    }

    #[test]
    fn a_message_without_an_id_gets_one_of_its_own() {
        let server = server();
        let mut made = Vec::new();
        for body in [r#"{"payload":1}"#, r#"{"payload":1,"id":null}"#] {
            let answer = server.json(&post("/topics/t/messages", body.as_bytes()));
            let id = Uuid::try_parse(answer["id"].as_str().unwrap()).unwrap();
            assert_eq!(id.get_version_num(), 4);
            made.push(answer["id"].clone());
        }
        assert_ne!(made[0], made[1]);
        let page = server.json(&get("/topics/t/messages"));
        let kept = [0, 1].map(|at| page["events"][at]["message"]["id"].clone());
        assert_eq!(kept[..], made[..]);
    }

    #[test]
    fn a_payload_is_kept_byte_for_byte() {
        let server = server();
        let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
        for (seq, payload) in (1..).zip([
            "null",
            "1.50",
            "-0",
            "2e999",
            r#""é\u00e9\ud83d""#,
            "{ \"a\" : 1,\"a\":2 }",
            &deep,
        ]) {
            let body = format!(r#"{{"id":"{ID}","payload": {payload} }}"#);
            assert_eq!(publish(&server, &body).0, 201, "{payload}");
            let (status, page) = server.answer(&get("/topics/t/messages?last_n=1"));
            let epoch = server.epoch("t");
            let begin = format!(
                r#"{{"topic":"t","epoch":"{epoch}","seq":{seq},"events":[{{"type":"event","topic":"t","message":{{"id":"{ID}","payload":{payload}}},"seq":{seq},"ts":""#
            );
            let ts = page
                .strip_prefix(&begin)
                .and_then(|rest| rest.strip_suffix(r#""}]}"#));
            assert_eq!(status, 200);
            assert!(
                ts.is_some_and(|ts| ts.len() == 27 && ts.ends_with('Z')),
                "{page}"
            );
        }
    }

    #[test]
    fn a_wrong_message_says_which_field() {
        let server = server();
        let deep = format!(r#"{{"payload":{}{}}}"#, "[".repeat(129), "]".repeat(129));
        let id = "id must be a valid UUID";
        for (body, detail) in [
            ("{}", "payload is required"),
            (r#"{"id":"x"}"#, "payload is required"),
            (r#"{"payload":1,"id":"x"}"#, id),
            (r#"{"payload":1,"id":""}"#, id),
            (r#"{"payload":1,"id":5}"#, id),
            (
                r#"{"payload":1,"payload":1}"#,
                "body: field 'payload' appears twice",
            ),
            (
                r#"{"payload":1,"x":1,"x":1}"#,
                "body: field 'x' appears twice",
            ),
            (r#"{"payload":}"#, "body: not valid JSON"),
            (r#"[{"payload":1}]"#, "body: not a JSON object"),
            (&deep, "payload must not be nested deeper than 128 levels"),
        ] {
            let expected = problem(422, "VALIDATION_ERROR", "Unprocessable Content", detail);
            assert_eq!(publish(&server, body), (422, expected), "{body}");
        }
        assert_eq!(server.json(&get("/topics/t"))["messages"], 0);
    }

    #[test]
    fn an_idempotent_message_is_published_once_and_needs_its_id() {
        let server = server();
        let epoch = server.epoch("t");
        let answer = |seq: u64, duplicate: &str| {
            format!(
                r#"{{"status":"ok","topic":"t","id":"{ID}","seq":{seq},"epoch":"{epoch}"{duplicate}}}"#
            )
        };
        let body = |rest: &str| format!(r#"{{"payload":1,"id":"{ID}"{rest}}}"#);
        let once = body(r#","idempotent":true"#);
        assert_eq!(publish(&server, &once), (201, answer(1, "")));
        let duplicate = answer(1, r#","duplicate":true"#);
        assert_eq!(publish(&server, &once), (200, duplicate.clone()));
        // Without the field nothing is compared.
        for (seq, rest) in [
            (2, ""),
            (3, r#","idempotent":false"#),
            (4, r#","idempotent":null"#),
        ] {
            assert_eq!(publish(&server, &body(rest)), (201, answer(seq, "")));
        }
        assert_eq!(publish(&server, &once), (200, duplicate));
        for (wrong, detail) in [
            (
                r#"{"payload":1,"idempotent":true}"#.to_owned(),
                "id is required with idempotent",
            ),
            (
                body(r#","idempotent":1"#),
                "idempotent must be true or false",
            ),
        ] {
            let expected = problem(422, "VALIDATION_ERROR", "Unprocessable Content", detail);
            assert_eq!(publish(&server, &wrong), (422, expected), "{wrong}");
        }
        assert_eq!(server.json(&get("/topics/t"))["messages"], 4);
    }

    #[test]
    fn a_message_to_no_topic_is_checked_before_the_topic_is_missed() {
        let server = Server::new();
        assert_eq!(publish(&server, "{}").0, 422);
        let missing = problem(404, "TOPIC_NOT_FOUND", "Not Found", "Topic 't' not found");
        assert_eq!(publish(&server, r#"{"payload":1}"#), (404, missing.clone()));
        assert_eq!(server.answer(&get("/topics/t/messages?x=1")).0, 422);
        assert_eq!(server.answer(&get("/topics/t/messages")), (404, missing));
    }

    #[test]
    fn a_publish_without_room_is_marked_for_the_connection_to_wait() {
        let server = Server::new();
        let small = br#"{"name":"t","max_queue_size":1,"overflow":"block"}"#;
        assert_eq!(server.answer(&post("/topics", small)).0, 201);
        server.subscribe_idle("t");
        server.publish("t", "1");
        let full = server.respond(&post("/topics/t/messages", br#"{"payload":2}"#));
        assert!(matches!(full.retry, Some(Retry::Publish { .. })));
        let detail = "Topic 't' waits for a slow subscriber";
        let body = problem(503, "UNAVAILABLE", "Service Unavailable", detail);
        assert_eq!((full.status, full.body), (503, body.into_bytes()));
        assert_eq!(server.json(&get("/topics/t"))["seq"], 1);
    }

    #[test]
    fn a_topic_that_goes_while_a_message_comes_is_not_found() {
        let name = TopicName::new("t").unwrap();
        let refused = |error| {
            let problem = problems::publish_refused(&name, &error);
            (problem.status, problem.code, problem.detail)
        };
        let missing = (404, "TOPIC_NOT_FOUND", "Topic 't' not found".to_owned());
        assert_eq!(refused(PublishError::Deleted), missing);
        assert_eq!(refused(PublishError::ShuttingDown).1, "SHUTTING_DOWN");
    }
}
