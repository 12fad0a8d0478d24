//! The JSON protocol over a [`WsClient`]: requests with their replies, and publishing.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Frame, Incoming, WsClient, assert_timestamp, code_of, seq_of};

/// Unacked publishes at once in [`WsClient::publish_many`].
const WINDOW: u64 = 20;

/// The id of the `n`-th message of a test.
pub(crate) fn uuid_of(n: u64) -> String {
    Uuid::from_u128(u128::from(n)).to_string()
}

/// A publish request whose payload is the JSON text `payload`, verbatim.
pub(crate) fn publish_text(topic: &str, payload: &str, request_id: &str) -> String {
    format!(
        r#"{{"type":"publish","topic":"{topic}","message":{{"id":"{}","payload":{payload}}},"request_id":"{request_id}"}}"#,
        uuid_of(1)
    )
}

impl WsClient {
    pub(crate) fn send(&mut self, request: &Value) {
        self.send_text(&request.to_string());
    }

    /// Sends requests in one write, so that the server is likely to receive all before it answers one.
    pub(crate) fn send_texts(&mut self, requests: &[String]) {
        let frames = requests.iter().map(|text| Frame::text(text).masked());
        self.send_bytes(&frames.collect::<Vec<_>>().concat());
    }

    /// The next `count` events.
    pub(crate) fn next_events(&mut self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.next_event()).collect()
    }

    /// Reads to the close frame, which must have this code; returns the code of the last error before it.
    pub(crate) fn last_error_before_close(&mut self, close_code: u16) -> String {
        let mut last = None;
        loop {
            match self.receive("a close frame") {
                Incoming::Text(text) => last = Some(parse(&text)),
                Incoming::Close(code) => {
                    assert_eq!(code, Some(close_code));
                    let error = last.unwrap_or_else(|| panic!("nothing before the close frame"));
                    return code_of(&error).to_owned();
                }
                Incoming::End => panic!("the stream ended without a close frame"),
                _ => continue,
            }
        }
    }

    /// The next message that was not returned yet.
    pub(crate) fn next_json(&mut self) -> Value {
        let text = self.next_text();
        parse(&text)
    }

    /// The next message, which must be an event.
    pub(crate) fn next_event(&mut self) -> Value {
        let message = self.next_json();
        assert_eq!(message["type"], "event", "expected an event, got {message}");
        message
    }

    /// The next message, which must be an `info` with this `msg`.
    pub(crate) fn next_info(&mut self, msg: &str) -> Value {
        let message = self.next_json();
        assert_eq!(
            message["type"], "info",
            "expected info {msg}, got {message}"
        );
        assert_eq!(message["msg"], msg, "in {message}");
        message
    }

    /// Sends `request` with a new request id and returns the reply; keeps earlier messages.
    pub(crate) fn ask(&mut self, mut request: Value) -> Value {
        let id = self.next_request_id();
        request["request_id"] = json!(id);
        self.send(&request);
        self.expect_reply(&id)
    }

    /// Like [`WsClient::ask`], for a request that must be refused with `code`.
    pub(crate) fn ask_refused(&mut self, request: Value, code: &str) -> Value {
        let reply = self.ask(request);
        assert_eq!(code_of(&reply), code, "in {reply}");
        reply
    }

    /// The reply to `request_id`; keeps earlier messages.
    pub(crate) fn expect_reply(&mut self, request_id: &str) -> Value {
        loop {
            let text = self.fresh_text(&format!("the reply to {request_id}"));
            let message = parse(&text);
            if message["request_id"] == request_id {
                return message;
            }
            self.set_aside.push_back(text);
        }
    }

    pub(crate) fn expect_ack(&mut self, request_id: &str) -> Value {
        checked_ack(self.expect_reply(request_id))
    }

    /// Subscribes from now on; returns the ack.
    pub(crate) fn subscribe(&mut self, topic: &str, client_id: &str) -> Value {
        self.subscribe_with(topic, client_id, &json!({}))
    }

    /// Subscribes with further fields; returns the ack.
    pub(crate) fn subscribe_with(&mut self, topic: &str, client_id: &str, fields: &Value) -> Value {
        checked_ack(self.ask(subscribe_request(topic, client_id, fields)))
    }

    /// Subscribes with further fields, which must be refused with `code`.
    pub(crate) fn subscribe_refused(&mut self, topic: &str, fields: &Value, code: &str) -> Value {
        self.ask_refused(subscribe_request(topic, "refused", fields), code)
    }

    pub(crate) fn unsubscribe(&mut self, topic: &str, client_id: &str) -> Value {
        checked_ack(
            self.ask(json!({"type": "unsubscribe", "topic": topic, "client_id": client_id})),
        )
    }

    /// Publishes one message and waits for its ack; returns its sequence.
    pub(crate) fn publish(&mut self, topic: &str, payload: &Value) -> u64 {
        seq_of(&checked_ack(self.ask(publish_request(topic, 0, payload))))
    }

    /// Publishes messages numbered `first..=last` (id and payload), up to [`WINDOW`] at once; returns their sequences.
    pub(crate) fn publish_many(&mut self, topic: &str, first: u64, last: u64) -> Vec<u64> {
        self.publish_padded(topic, first, last, 0)
    }

    /// Like [`WsClient::publish_many`], with `pad_bytes` more in each payload.
    pub(crate) fn publish_padded(
        &mut self,
        topic: &str,
        first: u64,
        last: u64,
        pad_bytes: usize,
    ) -> Vec<u64> {
        let pad = "x".repeat(pad_bytes);
        let mut seqs = Vec::new();
        let mut sent = first;
        for acked in first..=last {
            while sent <= last && sent < acked + WINDOW {
                let mut request = publish_request(topic, sent, &json!({"n": sent, "pad": pad}));
                request["request_id"] = json!(format!("p-{sent}"));
                self.send(&request);
                sent += 1;
            }
            seqs.push(seq_of(&self.expect_ack(&format!("p-{acked}"))));
        }
        seqs
    }

    /// Everything that the server sent before it answered a ping.
    pub(crate) fn fence(&mut self) -> Vec<Value> {
        let pong = self.ask(json!({"type": "ping"}));
        assert_eq!(pong["type"], "pong", "in {pong}");
        self.set_aside.drain(..).map(|text| parse(&text)).collect()
    }

    fn next_request_id(&mut self) -> String {
        self.requests_sent += 1;
        format!("r-{}", self.requests_sent)
    }
}

fn subscribe_request(topic: &str, client_id: &str, fields: &Value) -> Value {
    let mut request = json!({"type": "subscribe", "topic": topic, "client_id": client_id});
    for (name, value) in fields.as_object().expect("fields are an object") {
        request[name] = value.clone();
    }
    request
}

fn publish_request(topic: &str, n: u64, payload: &Value) -> Value {
    json!({"type": "publish", "topic": topic, "message": {"id": uuid_of(n), "payload": payload}})
}

fn checked_ack(reply: Value) -> Value {
    assert_eq!(reply["type"], "ack", "expected an ack, got {reply}");
    assert_eq!(reply["status"], "ok", "in {reply}");
    reply
}

/// Parses a message and checks it: an object with a timestamp and no `null` field.
fn parse(text: &str) -> Value {
    let message: Value =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    let fields = message
        .as_object()
        .unwrap_or_else(|| panic!("no object: {text}"));
    assert!(
        fields.values().all(|value| !value.is_null()),
        "a null field in {text}"
    );
    assert_timestamp(&message["ts"]);
    message
}
