//! `GET /topics/{name}/subscribers`: lists who is subscribed to a topic.

use serde::Serialize;
use serde::ser::Serializer;

use super::{Api, problems};
use crate::broker::ListedSubscriber;
use crate::protocol::{Timestamp, TopicName, UserName};
use crate::server::http::{Problem, Request, Response};

/// The memory for a subscriber in the list, with what is needed to write it.
const SUBSCRIBER_BYTES: usize = 200;

#[derive(Serialize)]
struct Subscribers<'a> {
    topic: &'a str,
    total: usize,
    #[serde(serialize_with = "as_lines")]
    subscribers: Vec<ListedSubscriber>,
}

#[derive(Serialize)]
struct SubscriberLine<'a> {
    client_id: &'a str,
    since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
}

impl Api {
    pub(super) fn list_subscribers(
        &self,
        name: &TopicName,
        limit: usize,
        request: &Request,
    ) -> Result<Response, Problem> {
        let refused = |error| problems::topic_refused(name, error);
        let count = self.broker.subscriber_count(name).map_err(refused)?;
        let expected = count.min(limit) * SUBSCRIBER_BYTES;
        Response::list(request, expected, || {
            let list = self.broker.list_subscribers(name, limit);
            let list = list.map_err(refused)?;
            Ok(Subscribers {
                topic: name.as_str(),
                total: list.total,
                subscribers: list.listed,
            })
        })
    }
}

fn as_lines<S: Serializer>(listed: &[ListedSubscriber], out: S) -> Result<S::Ok, S::Error> {
    out.collect_seq(listed.iter().map(|line| SubscriberLine {
        client_id: line.client_id.as_str(),
        since: line.since,
        user: line.user.as_ref().map(UserName::as_str),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Server, get};

    #[test]
    fn a_topic_has_its_subscribers_or_none() {
        let server = Server::new();
        server.create("t");
        let empty = r#"{"topic":"t","total":0,"subscribers":[]}"#;
        let path = "/topics/t/subscribers";
        assert_eq!(server.answer(&get(path)), (200, empty.into()));
        let _subscription = server.subscribe_idle("t");
        let list = server.json(&get(path));
        let since = list["subscribers"][0]["since"].as_str().unwrap();
        let expected = format!(
            r#"{{"topic":"t","total":1,"subscribers":[{{"client_id":"idle","since":"{since}"}}]}}"#
        );
        assert_eq!(server.answer(&get(path)), (200, expected));
    }

    #[test]
    fn a_topic_that_does_not_exist_has_no_list() {
        let server = Server::new();
        let (status, problem) = server.answer(&get("/topics/t/subscribers"));
        assert_eq!(status, 404);
        assert!(problem.contains("Topic 't' not found"), "{problem}");
    }
}
