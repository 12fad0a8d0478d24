//! Requests get the same replies however they are split into frames and segments, and whatever control frames come between.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use serde_json::{Value, json};

use super::{frame, text, unfinished};
use crate::harness::{Incoming, Opcode, TestServer, WsClient, uuid_of};

/// Placeholder for the topic's name, which differs in each run.
const TOPIC: &str = "TOPIC";

/// A message and how it is sent.
#[derive(Debug, Clone)]
struct Sent {
    message: Message,
    /// The ends of its fragments, in thousandths of its length.
    cuts: Vec<usize>,
    /// Pings sent after the fragment with this index.
    pings: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug, Clone)]
enum Message {
    Request(String),
    Binary(Vec<u8>),
}

impl Sent {
    fn frames(&self, topic: &str) -> Vec<u8> {
        let (opcode, payload) = match &self.message {
            Message::Request(request) => (Opcode::Text, request.replace(TOPIC, topic).into_bytes()),
            Message::Binary(bytes) => (Opcode::Binary, bytes.clone()),
        };
        let mut ends: Vec<usize> = self
            .cuts
            .iter()
            .map(|cut| cut * payload.len() / 1000)
            .collect();
        ends.sort_unstable();
        let mut bytes = Vec::new();
        let mut start = 0;
        let mut opcode = opcode;
        for (at, end) in ends.iter().enumerate() {
            bytes.extend(unfinished(opcode, &payload[start..*end]));
            bytes.extend(self.pings_at(at));
            (start, opcode) = (*end, Opcode::Continuation);
        }
        bytes.extend(frame(opcode, &payload[start..]));
        bytes.extend(self.pings_at(ends.len()));
        bytes
    }

    fn whole(&self, topic: &str) -> Vec<u8> {
        match &self.message {
            Message::Request(request) => text(&request.replace(TOPIC, topic)),
            Message::Binary(bytes) => frame(Opcode::Binary, bytes),
        }
    }

    fn pings_at(&self, place: usize) -> Vec<u8> {
        self.pings_in(place)
            .flat_map(|payload| frame(Opcode::Ping, payload))
            .collect()
    }

    fn pings_in(&self, place: usize) -> impl Iterator<Item = &[u8]> {
        let here = self.pings.iter().filter(move |(at, _)| *at == place);
        here.map(|(_, payload)| &payload[..])
    }

    /// The payloads of all pings, in the order they are sent.
    fn pings(&self) -> Vec<Vec<u8>> {
        (0..=self.cuts.len())
            .flat_map(|place| self.pings_in(place).map(<[u8]>::to_vec))
            .collect()
    }
}

fn request() -> impl Strategy<Value = String> {
    let id = "[a-zé💡]{1,12}";
    let payload = prop_oneof![
        "\"[ -!#-\\[\\]-~äπ語💡]{0,200}\"",
        Just("[1,{\"a\":null}]".to_owned())
    ];
    prop_oneof![
        id.prop_map(|id| json!({"type": "ping", "request_id": id}).to_string()),
        (id, payload, 1..9u64).prop_map(|(id, payload, n)| format!(
            r#"{{"type":"publish","topic":"{TOPIC}","message":{{"id":"{}","payload":{payload}}},"request_id":"{id}"}}"#,
            uuid_of(n)
        )),
        // Nothing is published to the idle topic, so no event comes between replies.
        (id, "[a-c]").prop_map(|(id, client)| json!({"type": "subscribe", "topic": format!("{TOPIC}-idle"), "client_id": client, "request_id": id}).to_string()),
        (id, "[a-c]").prop_map(|(id, client)| json!({"type": "unsubscribe", "topic": format!("{TOPIC}-idle"), "client_id": client, "request_id": id}).to_string()),
        "[ -~é💡]{0,40}",
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let message = prop_oneof![
        8 => request().prop_map(Message::Request),
        1 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Message::Binary),
    ];
    let cuts = proptest::collection::vec(0..=1000usize, 0..6);
    let ping = (0..6usize, proptest::collection::vec(any::<u8>(), 0..20));
    let pings = proptest::collection::vec(ping, 0..3);
    (message, cuts, pings).prop_map(|(message, cuts, pings)| Sent {
        message,
        cuts,
        pings,
    })
}

/// Reads the replies to `count` messages, without the fields that differ from run to run, and the pongs among them.
fn read_replies(
    client: &mut WsClient,
    count: usize,
    pongs: usize,
    topic: &str,
) -> (Vec<Value>, Vec<Vec<u8>>) {
    let (mut replies, mut echoed) = (Vec::new(), Vec::new());
    while replies.len() < count || echoed.len() < pongs {
        match client.receive("a reply") {
            Incoming::Text(text) => {
                let mut reply: Value = serde_json::from_str(&text.replace(topic, TOPIC)).unwrap();
                let fields = reply.as_object_mut().unwrap();
                fields.remove("ts");
                fields.remove("epoch");
                replies.push(reply);
            }
            Incoming::Pong(payload) => echoed.push(payload),
            other => panic!("expected a reply, got {other:?}"),
        }
    }
    assert!(client.fence().is_empty(), "more replies than messages");
    (replies, echoed)
}

#[test]
fn replies_do_not_depend_on_fragments_and_segments() {
    let server = TestServer::start();
    let run = RefCell::new(0);
    let fresh_topic = || {
        *run.borrow_mut() += 1;
        let topic = format!("run.{:04}", run.borrow());
        server.create_topic(&topic);
        server.create_topic(&format!("{topic}-idle"));
        topic
    };
    let messages = proptest::collection::vec(sent(), 1..20);
    let segments = proptest::collection::vec(1..200usize, 1..40);
    let mut runner = TestRunner::new(Cases {
        cases: 100,
        failure_persistence: None,
        ..Cases::default()
    });
    let same = runner.run(&(messages, segments), |(messages, segments)| {
        let topic = fresh_topic();
        let mut client = server.ws();
        for message in &messages {
            client.send_bytes(&message.whole(&topic));
        }
        let (expected, _) = read_replies(&mut client, messages.len(), 0, &topic);
        client.close();

        let topic = fresh_topic();
        let mut client = server.ws();
        let bytes: Vec<u8> = messages.iter().flat_map(|m| m.frames(&topic)).collect();
        let pings: Vec<Vec<u8>> = messages.iter().flat_map(Sent::pings).collect();
        let mut rest = &bytes[..];
        for length in segments.iter().cycle() {
            let (segment, tail) = rest.split_at(rest.len().min(*length));
            client.send_bytes(segment);
            rest = tail;
            if rest.is_empty() {
                break;
            }
        }
        let (replies, pongs) = read_replies(&mut client, messages.len(), pings.len(), &topic);
        client.close();
        prop_assert_eq!(replies, expected);
        prop_assert_eq!(pongs, pings);
        Ok(())
    });
    same.unwrap_or_else(|error| panic!("{error}"));
}
