//! `/connections` and `/connections/{id}`: lists the connections, and closes one of them.

use std::sync::Arc;

use serde::Serialize;
use serde::ser::Serializer;

use super::{Api, problems};
use crate::broker::Subscription;
use crate::protocol::UserName;
use crate::server::client_address::ClientAddress;
use crate::server::http::{Problem, Request, Response};

/// The list of connections, which is kept elsewhere.
pub(crate) trait Connected: Send + Sync {
    /// How many connections are open.
    fn count(&self) -> usize;

    /// How many connections and subscriptions a list of at most `limit` connections shows.
    fn size(&self, limit: usize) -> (usize, usize);

    /// How many are known, and at most `limit` of them, by id.
    fn list(&self, limit: usize) -> (usize, Vec<ConnectionLine>);

    /// Closes a connection without waiting for its end; `false` if there is none.
    fn close(&self, id: u64) -> bool;
}

/// The memory for a connection in the list, with what is needed to write it; for a subscription of one.
const CONNECTION_BYTES: usize = 400;
const SUBSCRIPTION_BYTES: usize = 160;

/// One connection as it is listed.
#[derive(Serialize)]
pub(crate) struct ConnectionLine {
    pub(crate) id: u64,
    pub(crate) protocol: &'static str,
    pub(crate) address: ClientAddress,
    /// The name of the key; none when the server asks for none, and with a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// The user of the token; none without a token, or if it names none.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub(crate) user: Option<UserName>,
    pub(crate) uptime_sec: u64,
    pub(crate) idle_sec: u64,
    pub(crate) pending_bytes: usize,
    #[serde(serialize_with = "as_lines")]
    pub(crate) subscriptions: Vec<Arc<Subscription>>,
}

#[derive(Serialize)]
struct SubscriptionLine<'a> {
    topic: &'a str,
    client_id: &'a str,
    lag: u64,
    dropped: u64,
}

#[derive(Serialize)]
struct ConnectionList {
    total: usize,
    connections: Vec<ConnectionLine>,
}

#[derive(Serialize)]
struct Closed {
    status: &'static str,
    connection: u64,
}

impl Api {
    pub(super) fn list_connections(
        &self,
        limit: usize,
        request: &Request,
    ) -> Result<Response, Problem> {
        let (connections, subscriptions) = self.connections.size(limit);
        let expected = connections * CONNECTION_BYTES + subscriptions * SUBSCRIPTION_BYTES;
        Response::list(request, expected, || {
            let (total, connections) = self.connections.list(limit);
            Ok(ConnectionList { total, connections })
        })
    }

    pub(super) fn close_connection(&self, id: u64) -> Result<Response, Problem> {
        self.refuse_while_draining()?;
        if !self.connections.close(id) {
            return Err(problems::connection_not_found(&id.to_string()));
        }
        let closed = Closed {
            status: "closed",
            connection: id,
        };
        Ok(Response::json(200, &closed))
    }
}

fn as_text<S: Serializer>(user: &Option<UserName>, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(user.as_ref().map_or("", UserName::as_str))
}

fn as_lines<S: Serializer>(subscriptions: &[Arc<Subscription>], out: S) -> Result<S::Ok, S::Error> {
    out.collect_seq(subscriptions.iter().map(|subscription| SubscriptionLine {
        topic: subscription.topic().name().as_str(),
        client_id: subscription.client_id().as_str(),
        lag: subscription.lag().unwrap_or(0),
        dropped: subscription.dropped(),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Server, delete, get};

    #[test]
    fn connections_are_listed_with_what_they_are_and_have() {
        let server = Server::new();
        server.create("t");
        server.connect(17, None, &["t"]);
        server.connect(23, Some("dashboard"), &[]);
        server.publish("t", "1");
        let list = r#"{"total":2,"connections":[{"id":17,"protocol":"http","address":"127.0.0.1:51234","uptime_sec":120,"idle_sec":3,"pending_bytes":0,"subscriptions":[{"topic":"t","client_id":"idle","lag":1,"dropped":0}]},{"id":23,"protocol":"http","address":"127.0.0.1:51234","key":"dashboard","uptime_sec":120,"idle_sec":3,"pending_bytes":0,"subscriptions":[]}]}"#;
        assert_eq!(server.answer(&get("/connections")), (200, list.into()));
    }

    #[test]
    fn a_list_is_as_long_as_it_may_be_and_tells_how_many_there_are() {
        let server = Server::new();
        (1..=1200).for_each(|id| server.connect(id, None, &[]));
        for (query, count) in [
            ("", 1000),
            ("?limit=2", 2),
            ("?limit=0", 0),
            ("?limit=9999", 1200),
        ] {
            let list = server.json(&get(&format!("/connections{query}")));
            assert_eq!(list["total"], 1200, "{query}");
            assert_eq!(
                list["connections"].as_array().unwrap().len(),
                count,
                "{query}"
            );
        }
        for query in [
            "?limit=x",
            "?limit=-1",
            "?limit=",
            "?limit=1&limit=1",
            "?top=1",
        ] {
            assert_eq!(
                server.answer(&get(&format!("/connections{query}"))).0,
                422,
                "{query}"
            );
        }
    }

    #[test]
    fn one_that_is_there_is_closed_and_no_other_is_found() {
        let server = Server::new();
        server.connect(17, None, &[]);
        let closed = r#"{"status":"closed","connection":17}"#;
        assert_eq!(
            server.answer(&delete("/connections/17")),
            (200, closed.into())
        );
        let missing = r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"Connection '17' not found","code":"CONNECTION_NOT_FOUND"}"#;
        assert_eq!(
            server.answer(&delete("/connections/17")),
            (404, missing.into())
        );
    }
}
