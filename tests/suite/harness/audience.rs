//! Who is subscribed to a topic, as a client knows it from notices.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::WsClient;

/// The most names in one list.
pub(crate) const MAX_NAMES: usize = 1000;

/// The client ids of a list.
pub(crate) fn names(list: &Value) -> Vec<String> {
    let list = list.as_array().expect("a list");
    let name = |name: &Value| name.as_str().expect("a client id").to_owned();
    list.iter().map(name).collect()
}

/// What a client makes of the notices of one topic.
#[derive(Default)]
pub(crate) struct Audience {
    pub(crate) present: BTreeSet<String>,
    pub(crate) notices: usize,
}

impl Audience {
    /// Subscribes with presence; the list comes directly behind the ack.
    pub(crate) fn begin(client: &mut WsClient, topic: &str, client_id: &str) -> Audience {
        client.subscribe_with(topic, client_id, &json!({"presence": true}));
        let mut audience = Audience::default();
        audience.apply(&client.next_info("presence"), topic);
        assert!(audience.present.contains(client_id), "not itself");
        audience
    }

    pub(crate) fn apply(&mut self, notice: &Value, topic: &str) {
        assert_eq!(notice["topic"], topic, "in {notice}");
        self.notices += 1;
        if let Some(list) = notice.get("subscribers") {
            let list = names(list);
            assert!(list.is_sorted(), "{list:?}");
            self.present = list.into_iter().collect();
        } else {
            let (joined, left) = (names(&notice["joined"]), names(&notice["left"]));
            assert!(
                !joined.is_empty() || !left.is_empty(),
                "nothing in {notice}"
            );
            assert!(joined.len() <= MAX_NAMES && left.len() <= MAX_NAMES);
            for name in joined {
                assert!(self.present.insert(name), "was there before: {notice}");
            }
            for name in left {
                assert!(self.present.remove(&name), "was not there before: {notice}");
            }
        }
        if self.present.len() < MAX_NAMES {
            assert_eq!(notice["total"], self.present.len(), "in {notice}");
        }
    }

    /// Receives notices until exactly these are there.
    pub(crate) fn await_only(&mut self, client: &mut WsClient, topic: &str, expected: &[&str]) {
        let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
        while self.present != expected {
            self.apply(&client.next_info("presence"), topic);
        }
    }
}
