//! Checks every WebSocket message against the AsyncAPI document.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use jsonschema::Validator;
use serde_json::Value;

use super::{asyncapi, pointer, without_payloads};

/// Errors that no schema can express: they depend on the topic, the connection, the depth of a payload, or on repeated keys.
const NOT_IN_SCHEMAS: [&str; 5] = [
    "is ahead of the topic",
    "does not match",
    "message.payload must not be nested deeper than 128 levels",
    "appears twice",
    "was not opened with a token",
];

/// Asserts that exactly one message of the document matches this text.
pub(crate) fn check_frame(text: &str) -> Value {
    let frame = without_payloads(text).unwrap_or_else(|| panic!("not JSON: {text}"));
    let kind = from_server().of(&frame);
    let fitting = kind
        .iter()
        .filter(|message| message.schema.is_valid(&frame));
    if fitting.count() != 1 {
        let errors: Vec<_> = kind.iter().map(|message| message.errors(&frame)).collect();
        panic!("not one message of the contract, but: {errors:#?}\n{text}");
    }
    frame
}

/// Whether the document has this close code.
pub(crate) fn is_close_code(code: u16) -> bool {
    let listed = asyncapi().at("/channels/socket/x-close-codes").as_array();
    let mut listed = listed.into_iter().flatten();
    listed.any(|known| known["code"] == code)
}

/// The unanswered requests of a connection by `request_id`, oldest first.
#[derive(Default)]
pub(crate) struct Requests(HashMap<String, VecDeque<Value>>);

impl Requests {
    pub(crate) fn sent(&mut self, text: &str) {
        let request = without_payloads(text);
        let id = request
            .as_ref()
            .and_then(|request| request["request_id"].as_str());
        if let (Some(request), Some(id)) = (&request, id) {
            let waiting = self.0.entry(id.to_owned()).or_default();
            waiting.push_back(request.clone());
        }
    }

    /// Asserts that the server accepts exactly the requests that match the document.
    pub(crate) fn answered(&mut self, reply: &Value) {
        let Some(id) = reply["request_id"].as_str() else {
            return;
        };
        let Some(waiting) = self.0.get_mut(id) else {
            return;
        };
        let request = waiting.pop_front();
        if waiting.is_empty() {
            self.0.remove(id);
        }
        let Some(request) = request else { return };
        let kind = from_client().of(&request);
        let fits = kind.iter().any(|message| message.schema.is_valid(&request));
        match reply["error"]["code"].as_str() {
            Some("BAD_REQUEST") => {
                let text = reply["error"]["message"].as_str().unwrap_or_default();
                let is_exempt = NOT_IN_SCHEMAS.iter().any(|known| text.contains(known));
                assert!(
                    !fits || is_exempt,
                    "refused against the contract: {request} {reply}"
                );
            }
            _ => {
                let errors: Vec<_> = kind
                    .iter()
                    .map(|message| message.errors(&request))
                    .collect();
                assert!(
                    fits,
                    "accepted against the contract: {request} {reply} {errors:#?}"
                );
            }
        }
    }
}

/// A message of the document.
struct Message {
    place: String,
    schema: Arc<Validator>,
}

impl Message {
    fn errors(&self, frame: &Value) -> (&str, Vec<String>) {
        (&self.place, asyncapi().errors(&self.place, frame))
    }
}

/// All messages in one direction, by their `type`.
struct Messages(HashMap<String, Vec<Message>>);

impl Messages {
    /// The messages with the type of this frame.
    fn of(&self, frame: &Value) -> &[Message] {
        let kind = frame["type"].as_str().unwrap_or_default();
        self.0.get(kind).map_or(&[], Vec::as_slice)
    }

    /// The messages of the operations with this action; replies count as sent.
    fn of_action(action: &str) -> Messages {
        let document = asyncapi();
        let mut places = BTreeSet::new();
        for name in document.keys("/operations") {
            let operation = document.at(&pointer(&["operations", name]));
            let own = (operation["action"] == action).then_some(&operation["messages"]);
            let replies = (action == "send").then(|| &operation["reply"]["messages"]);
            let lists = own.into_iter().chain(replies).filter_map(Value::as_array);
            places.extend(lists.flatten().map(|message| {
                let target = message["$ref"].as_str().expect("a reference");
                let message = document.resolve(target.trim_start_matches('#').to_owned());
                document.resolve(message + "/payload")
            }));
        }
        let mut messages = HashMap::<_, Vec<_>>::new();
        for place in places {
            let kind = &document.at(&place)["properties"]["type"]["const"];
            let kind = kind.as_str().expect("a message has a type").to_owned();
            let schema = document.validator(&place);
            messages
                .entry(kind)
                .or_default()
                .push(Message { place, schema });
        }
        Messages(messages)
    }
}

fn from_client() -> &'static Messages {
    static MESSAGES: OnceLock<Messages> = OnceLock::new();
    MESSAGES.get_or_init(|| Messages::of_action("receive"))
}

fn from_server() -> &'static Messages {
    static MESSAGES: OnceLock<Messages> = OnceLock::new();
    MESSAGES.get_or_init(|| Messages::of_action("send"))
}
