//! A request over the WebSocket.
//!
//! A request is accepted and understood exactly as the protocol says. The fast parser agrees with the full one. An event
//! carries its payload unchanged, and is JSON in one whole frame.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oracle::request::Kind;
use oracle::{frames, json, request};
use threadcast::fuzzing::{self, Request};

const SEQ: u64 = 1_234_567_890;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let long = fuzzing::request_field_by_field(&text);
    if let Some(short) = fuzzing::request_on_fast_path(&text) {
        assert_eq!(short, long, "the short way and the long way differ");
    }
    assert_eq!(fuzzing::request(&text), long);
    match (long, request::read(&text)) {
        ((request_id, Ok(found)), Some(expected)) => {
            let found = kind(found);
            assert_eq!(
                (&request_id, &found),
                (&expected.request_id, &expected.kind)
            );
            if let Kind::Publish {
                topic, id, payload, ..
            } = found
            {
                check_event(&text, &topic, &id, &payload);
            }
        }
        ((_, Err(told)), None) => assert!(!told.is_empty()),
        ((_, found), expected) => panic!("it is {expected:?}, and was read as {found:?}"),
    }
});

fn kind(request: Request) -> Kind {
    match request {
        Request::Ping => Kind::Ping,
        Request::Authenticate { token } => Kind::Authenticate { token },
        Request::Publish {
            topic,
            id,
            payload,
            idempotent,
        } => Kind::Publish {
            topic,
            id,
            payload,
            idempotent,
        },
        Request::Subscribe {
            topic,
            client_id,
            last_n,
            after,
            positions,
            presence,
        } => Kind::Subscribe {
            topic,
            client_id,
            last_n,
            after,
            positions,
            presence,
        },
        Request::Unsubscribe { topic, client_id } => Kind::Unsubscribe { topic, client_id },
    }
}

fn check_event(text: &str, topic: &str, id: &str, payload: &str) {
    let bytes = fuzzing::event_frame(text, SEQ).unwrap();
    let frames = frames::read(&bytes).unwrap();
    let [frames::Frame::Text(event)] = &frames[..] else {
        panic!("an event is not one text frame");
    };
    let event = json::parse(event).expect("an event is no JSON");
    let string = |name| event.get(name).and_then(json::Node::string);
    assert_eq!(
        (string("type"), string("topic")),
        (Some("event"), Some(topic))
    );
    assert_eq!(event.get("seq").map(|node| node.text), Some("1234567890"));
    let message = event.get("message").unwrap();
    assert_eq!(message.get("id").and_then(json::Node::string), Some(id));
    assert_eq!(message.get("payload").map(|node| node.text), Some(payload));
}
