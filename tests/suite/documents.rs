//! The OpenAPI and AsyncAPI documents: served unchanged, with valid examples, and naming only things that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::{ChildServer, Document, TestServer, asyncapi, openapi, pointer};

#[test]
fn documents_are_served_byte_for_byte() {
    let server = TestServer::start();
    for (path, document) in [("/openapi.json", openapi()), ("/asyncapi.json", asyncapi())] {
        let reply = server.http().get(path);
        assert_eq!(reply.expect(200), document.root);
        assert_eq!(reply.body, document.text.as_bytes());
    }
}

/// Calls `look` with each value in the document and its path.
fn walk(value: &Value, place: &mut Vec<String>, look: &mut impl FnMut(&[String], &Value)) {
    look(place, value);
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(at, item)| (at.to_string(), item))
            .collect(),
        _ => Vec::new(),
    };
    for (key, child) in children {
        place.push(key);
        walk(child, place, look);
        place.pop();
    }
}

fn place_of(keys: &[String]) -> String {
    pointer(&keys.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn every_reference_resolves_and_every_component_is_used() {
    for document in [openapi(), asyncapi()] {
        let mut targets = BTreeSet::new();
        walk(&document.root, &mut Vec::new(), &mut |_, value| {
            if let Some(target) = value.get("$ref").and_then(Value::as_str) {
                let target = target.strip_prefix('#').expect("a local reference");
                document.at(target);
                targets.insert(target.to_owned());
            }
        });
        // Responses to requests outside of the documented operations.
        let elsewhere = ["PathNotFound", "MethodNotAllowed", "Options", "Preflight"];
        for kind in ["schemas", "messages", "responses", "parameters", "headers"] {
            if document.root["components"].get(kind).is_none() {
                continue;
            }
            for name in document.keys(&pointer(&["components", kind])) {
                let place = pointer(&["components", kind, name]);
                assert!(
                    targets.contains(&place) || elsewhere.contains(&name),
                    "{place}"
                );
            }
        }
    }
}

#[test]
fn every_body_and_frame_has_an_example_and_every_example_is_valid() {
    let document = openapi();
    let mut bodies = 0;
    walk(&document.root, &mut Vec::new(), &mut |place, value| {
        let [.., content, label] = place else { return };
        if content != "content" || !label.contains("json") {
            return;
        }
        let mut examples: Vec<_> = value.get("example").into_iter().collect();
        let named = value["examples"].as_object().into_iter().flatten();
        examples.extend(named.map(|(_, example)| &example["value"]));
        // The two documents themselves need no example.
        let is_document = place
            .iter()
            .any(|key| key == "/openapi.json" || key == "/asyncapi.json");
        assert!(
            is_document || !examples.is_empty(),
            "no example at {place:?}"
        );
        for example in examples {
            expect_valid(document, &(place_of(place) + "/schema"), example);
            bodies += 1;
        }
    });
    assert!(bodies >= 35, "only {bodies} examples");

    let document = asyncapi();
    for name in document.keys("/components/messages") {
        let message = pointer(&["components", "messages", name]);
        let examples = document.at(&(message.clone() + "/examples"));
        let examples = examples.as_array().expect("a list of examples");
        assert!(!examples.is_empty(), "no example of {name}");
        for example in examples {
            expect_valid(
                document,
                &(message.clone() + "/payload"),
                &example["payload"],
            );
        }
    }
}

fn expect_valid(document: &Document, schema: &str, example: &Value) {
    let errors = document.errors(schema, example);
    assert!(errors.is_empty(), "{schema}: {example} {errors:#?}");
}

#[test]
fn schemas_of_responses_and_frames_list_every_field() {
    for (document, requests) in [
        (
            openapi(),
            &[
                "NewTopic",
                "TopicChange",
                "NewMessage",
                "/openapi.json",
                "/asyncapi.json",
            ][..],
        ),
        (
            asyncapi(),
            &[
                "NewMessage",
                "KnownPositions",
                "subscribe",
                "subscribePattern",
                "unsubscribe",
                "unsubscribePattern",
                "publish",
                "ping",
                "authenticate",
                "bindings",
                "if",
                "then",
            ],
        ),
    ] {
        walk(&document.root, &mut Vec::new(), &mut |place, value| {
            let is_schema = value.get("properties").is_some() && value["type"] == "object";
            if is_schema && !place.iter().any(|key| requests.contains(&key.as_str())) {
                assert!(
                    value.get("additionalProperties").is_some(),
                    "open at {place:?}"
                );
            }
        });
    }
}

#[test]
fn every_setting_named_in_a_document_exists() {
    let help = ChildServer::command(&[])
        .arg("--help")
        .output()
        .expect("the binary runs");
    let help = String::from_utf8_lossy(&help.stdout);
    let mut names = BTreeSet::new();
    for document in [openapi(), asyncapi()] {
        let words = document
            .text
            .split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
        names.extend(words.filter(|word| word.starts_with("PUBSUB_") && *word != "PUBSUB_"));
    }
    assert!(names.len() >= 10, "only {names:?}");
    for name in names {
        assert!(help.contains(&format!("[env: {name}]")), "{name}");
    }
}

#[test]
fn every_documented_problem_code_exists_in_the_server() {
    let mut source = String::new();
    read_all(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/server")),
        &mut source,
    );
    let codes = openapi().at("/components/schemas/Problem/properties/code/enum");
    for code in codes.as_array().expect("a list of codes") {
        assert!(source.contains(&code.to_string()), "{code}");
    }
}

fn read_all(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_all(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).expect("a source file"));
        }
    }
}
