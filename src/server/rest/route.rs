//! Routes: what a request asks for, with its decoded and validated parts, and the right that it needs.
//!
//! The HTTP edge turns each head into a [`Route`], once. Nothing later looks at the path or the query.

use super::{problems, query};
use crate::metrics::Format;
use crate::protocol::{StartAt, TopicName};
use crate::server::http::head::Head;
use crate::server::http::{Problem, media, target};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/ws`, with any method. It is no REST route: the connection becomes a WebSocket, or is refused.
    WebSocket,
    Dashboard,
    ListTopics,
    CreateTopic,
    ShowTopic(TopicName),
    DeleteTopic(TopicName),
    ReadMessages(TopicName, StartAt),
    PublishMessage(TopicName),
    /// At most this many of them.
    ListConnections(usize),
    CloseConnection(u64),
    ShowSettings,
    Health,
    Stats,
    ListNodes,
    Metrics(Format),
    Livez,
    Readyz,
    OpenApi,
    AsyncApi,
    Refused(Refusal),
}

/// There is no such path, the path does not have this method, or the query is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) problem: Problem,
    /// Who may see the problem.
    right: Right,
}

/// The right that a route needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Right {
    /// No key is needed.
    Public,
    /// Any key is enough: the response holds no secret, but strangers learn nothing.
    AnyKey,
    /// The right to administer: for what concerns the whole server, or shows which topics exist.
    Admin,
    Publish(TopicName),
    Subscribe(TopicName),
}

/// A problem that every key may see.
impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Refusal {
        Right::AnyKey.refusal(problem)
    }
}

impl Right {
    fn refusal(self, problem: Problem) -> Refusal {
        let right = self;
        Refusal { problem, right }
    }
}

impl Route {
    /// The route of a head. Decodes its path and its query.
    pub(crate) fn of(head: &Head) -> Route {
        // HEAD is GET without the body.
        let method = match head.method.as_str() {
            "HEAD" => "GET",
            method => method,
        };
        find(method, head).unwrap_or_else(Route::Refused)
    }

    /// Decides which right is needed.
    pub(crate) fn right(&self) -> Right {
        match self {
            // The state of the server for a machine; a page without data, which a browser loads before it has a key.
            Route::Livez | Route::Readyz | Route::Dashboard => Right::Public,
            // A handshake presents its key in more ways, and is checked on its own.
            Route::WebSocket => Right::Public,
            Route::ListTopics
            | Route::CreateTopic
            | Route::DeleteTopic(_)
            | Route::ListConnections(_)
            | Route::CloseConnection(_)
            | Route::ShowSettings
            | Route::Health
            | Route::Stats
            | Route::ListNodes
            | Route::Metrics(_) => Right::Admin,
            Route::ShowTopic(topic) | Route::ReadMessages(topic, _) => {
                Right::Subscribe(topic.clone())
            }
            Route::PublishMessage(topic) => Right::Publish(topic.clone()),
            Route::OpenApi | Route::AsyncApi => Right::AnyKey,
            Route::Refused(refusal) => refusal.right.clone(),
        }
    }

    /// Whether carrying the route out twice is the same as once.
    pub(crate) fn only_reads(&self) -> bool {
        !matches!(
            self,
            Route::CreateTopic
                | Route::DeleteTopic(_)
                | Route::PublishMessage(_)
                | Route::CloseConnection(_)
        )
    }

    /// A path that can only be read. `right` is that of whoever may see that another method is wrong.
    fn read_by(self, method: &str, right: Right) -> Result<Route, Refusal> {
        match method {
            "GET" => Ok(self),
            _ => Err(right.refusal(problems::method_not_allowed("GET, HEAD"))),
        }
    }
}

fn find(method: &str, head: &Head) -> Result<Route, Refusal> {
    let segments = target::segments(&head.path).map_err(problems::malformed_path)?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let public = |route: Route| route.read_by(method, Right::Public);
    let read = |route: Route| route.read_by(method, Right::AnyKey);
    match segments[..] {
        ["ws"] => Ok(Route::WebSocket),
        [] if head.path == "/" => public(Route::Dashboard),
        ["livez"] => public(Route::Livez),
        ["readyz"] => public(Route::Readyz),
        ["topics"] => match method {
            "GET" => Ok(Route::ListTopics),
            "POST" => Ok(Route::CreateTopic),
            _ => Err(problems::method_not_allowed("GET, HEAD, POST").into()),
        },
        ["topics", name] if !name.is_empty() => topic(topic_name(name)?, method),
        ["topics", name, "messages"] if !name.is_empty() => {
            messages(topic_name(name)?, method, head)
        }
        ["connections"] if method == "GET" => list_connections(head),
        ["connections", id] if !id.is_empty() => connection(connection_id(id)?, method),
        ["metrics"] if method == "GET" => metrics(head),
        ["config"] => read(Route::ShowSettings),
        ["health"] => read(Route::Health),
        ["stats"] => read(Route::Stats),
        ["nodes"] => read(Route::ListNodes),
        ["openapi.json"] => read(Route::OpenApi),
        ["asyncapi.json"] => read(Route::AsyncApi),
        ["connections" | "metrics"] => Err(problems::method_not_allowed("GET, HEAD").into()),
        _ => Err(problems::path_not_found().into()),
    }
}

fn topic(name: TopicName, method: &str) -> Result<Route, Refusal> {
    match method {
        "GET" => Ok(Route::ShowTopic(name)),
        "DELETE" => Ok(Route::DeleteTopic(name)),
        _ => Err(problems::method_not_allowed("GET, HEAD, DELETE").into()),
    }
}

fn messages(name: TopicName, method: &str, head: &Head) -> Result<Route, Refusal> {
    match method {
        "GET" => match query::read_history_query(head.query.as_deref()) {
            Ok(start_at) => Ok(Route::ReadMessages(name, start_at)),
            Err(problem) => Err(Right::Subscribe(name).refusal(problem)),
        },
        "POST" => Ok(Route::PublishMessage(name)),
        _ => Err(problems::method_not_allowed("GET, HEAD, POST").into()),
    }
}

fn list_connections(head: &Head) -> Result<Route, Refusal> {
    let limit = query::read_limit(head.query.as_deref());
    limit
        .map(Route::ListConnections)
        .map_err(|problem| Right::Admin.refusal(problem))
}

fn connection(id: u64, method: &str) -> Result<Route, Refusal> {
    match method {
        "DELETE" => Ok(Route::CloseConnection(id)),
        _ => Err(problems::method_not_allowed("DELETE").into()),
    }
}

/// The query decides the format; without it, the client's `Accept`.
fn metrics(head: &Head) -> Result<Route, Refusal> {
    let format = query::read_format(head.query.as_deref());
    let format = format.map_err(|problem| Right::Admin.refusal(problem))?;
    Ok(Route::Metrics(format.unwrap_or_else(
        || match media::prefers_plain_text(&head.headers) {
            true => Format::Prometheus,
            false => Format::OpenMetrics,
        },
    )))
}

/// An invalid name is answered like that of a topic that does not exist.
fn topic_name(name: &str) -> Result<TopicName, Problem> {
    TopicName::new(name).map_err(|_| problems::topic_not_found(name))
}

/// Ids have no sign and no leading zeros. Anything else is answered like the id of a connection that does not exist.
fn connection_id(text: &str) -> Result<u64, Problem> {
    let id = text.parse().ok();
    id.filter(|id: &u64| id.to_string() == text)
        .ok_or_else(|| problems::connection_not_found(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: &str, target: &str) -> Route {
        Route::of(&super::super::fixture::head(method, target))
    }

    fn problem(method: &str, target: &str) -> Option<Problem> {
        match route(method, target) {
            Route::Refused(refusal) => Some(refusal.problem),
            _ => None,
        }
    }

    fn refusal(method: &str, target: &str) -> (u16, &'static str, String) {
        let problem = problem(method, target).unwrap();
        (problem.status, problem.code, problem.detail)
    }

    fn name(text: &str) -> TopicName {
        TopicName::new(text).unwrap()
    }

    #[test]
    fn every_row_of_the_contract_has_its_route() {
        let rows = [
            ("GET", "/", Route::Dashboard),
            ("GET", "/topics", Route::ListTopics),
            ("POST", "/topics", Route::CreateTopic),
            (
                "GET",
                "/topics/a.b:c-d_1",
                Route::ShowTopic(name("a.b:c-d_1")),
            ),
            (
                "DELETE",
                "/topics/orders",
                Route::DeleteTopic(name("orders")),
            ),
            (
                "GET",
                "/topics/o/messages?last_n=2",
                Route::ReadMessages(name("o"), StartAt::Last(2)),
            ),
            (
                "POST",
                "/topics/o/messages",
                Route::PublishMessage(name("o")),
            ),
            (
                "GET",
                "/topics/messages",
                Route::ShowTopic(name("messages")),
            ),
            ("GET", "/connections?limit=3", Route::ListConnections(3)),
            ("DELETE", "/connections/17", Route::CloseConnection(17)),
            ("GET", "/config", Route::ShowSettings),
            ("GET", "/health", Route::Health),
            ("GET", "/stats", Route::Stats),
            ("GET", "/metrics", Route::Metrics(Format::OpenMetrics)),
            (
                "GET",
                "/metrics?format=prometheus",
                Route::Metrics(Format::Prometheus),
            ),
            ("GET", "/livez", Route::Livez),
            ("GET", "/readyz", Route::Readyz),
            ("GET", "/openapi.json", Route::OpenApi),
            ("GET", "/asyncapi.json", Route::AsyncApi),
        ];
        for (method, path, expected) in rows {
            if method == "GET" {
                assert_eq!(route("HEAD", path), expected, "HEAD {path}");
            }
            assert_eq!(route(method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_path_takes_exactly_the_methods_its_allow_header_lists() {
        let methods = [
            "GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "get", "QUERY", "",
        ];
        for path in [
            "/",
            "/topics",
            "/topics/t",
            "/topics/t/messages",
            "/connections",
            "/connections/17",
            "/config",
            "/health",
            "/stats",
            "/metrics",
            "/livez",
            "/readyz",
            "/openapi.json",
            "/asyncapi.json",
        ] {
            let refused = problem("PUT", path).unwrap();
            let [("Allow", allow)] = &refused.headers[..] else {
                panic!("no Allow for {path}")
            };
            for method in methods {
                let listed = allow.split(", ").any(|allowed| allowed == method);
                match problem(method, path) {
                    None => assert!(listed, "{method} {path}"),
                    Some(problem) => assert!(!listed && problem.status == 405, "{method} {path}"),
                }
            }
        }
    }

    #[test]
    fn an_unknown_path_is_not_found_whatever_the_method() {
        for path in [
            "",
            "//",
            "*",
            "/topics/",
            "//topics",
            "/topics//messages",
            "/topics/t/",
            "/topics/t/messages/",
            "/topics/t/nonsense",
            "/connections/",
            "/connections/17/",
            "/config/port",
            "/Topics",
            "/health/",
            "/%FF",
            "/topics/%FF",
            "/topics%2Ft",
            "/metrics/",
            "/openapi",
            "/openapi.json/",
            "/topics/../health",
        ] {
            for method in ["GET", "POST", "PUT"] {
                let expected = (404, "NOT_FOUND", "Path not found".to_owned());
                assert_eq!(refusal(method, path), expected, "{method} {path}");
            }
        }
    }

    #[test]
    fn percent_encoding_is_decoded_exactly_once() {
        assert_eq!(
            route("GET", "/%74opics/%6frders%3A1"),
            Route::ShowTopic(name("orders:1"))
        );
        for (path, topic) in [
            ("/topics/a%2Fb", "a/b"),
            ("/topics/a%25", "a%"),
            ("/topics/a%252Fb", "a%2Fb"),
            ("/topics/%20", " "),
            ("/topics/%C3%A4", "ä"),
            ("/topics/%00", "\0"),
            ("/topics/..", ".."),
            ("/topics/a+b/messages", "a+b"),
        ] {
            let expected = (404, "TOPIC_NOT_FOUND", format!("Topic '{topic}' not found"));
            assert_eq!(refusal("GET", path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_id_is_the_id_of_no_connection() {
        for id in ["0x1", "-1", "+1", "01", "1.0", "a", "18446744073709551616"] {
            let expected = (
                404,
                "CONNECTION_NOT_FOUND",
                format!("Connection '{id}' not found"),
            );
            assert_eq!(refusal("DELETE", &format!("/connections/{id}")), expected);
        }
    }

    #[test]
    fn broken_percent_encoding_is_a_bad_request_everywhere() {
        for path in [
            "/topics/%",
            "/topics/%4",
            "/topics/%zz",
            "/nowhere/%g0",
            "/topics/a%2",
            "/%+1",
        ] {
            let (status, code, _) = refusal("PUT", path);
            assert_eq!((status, code), (400, "BAD_REQUEST"), "{path}");
        }
    }

    #[test]
    fn the_websocket_path_is_recognised_in_any_encoding() {
        for target in ["/ws", "/%77s?token=x", "/ws?token=%"] {
            assert_eq!(route("GET", target), Route::WebSocket, "{target}");
            assert_eq!(route("PUT", target), Route::WebSocket, "{target}");
        }
        for target in [
            "/", "/ws/", "//ws", "/%2577s", "/WS", "/wss", "/%zz", "/x/ws",
        ] {
            assert_ne!(route("GET", target), Route::WebSocket, "{target}");
        }
    }

    #[test]
    fn every_route_needs_its_right() {
        let topic = || TopicName::new("a.b").unwrap();
        for (method, path, expected) in [
            ("GET", "/topics", Right::Admin),
            ("POST", "/topics", Right::Admin),
            ("DELETE", "/topics/a.b", Right::Admin),
            ("GET", "/topics/a.b", Right::Subscribe(topic())),
            ("HEAD", "/topics/%61.b", Right::Subscribe(topic())),
            ("GET", "/topics/a.b/messages", Right::Subscribe(topic())),
            ("POST", "/topics/a%2Eb/messages", Right::Publish(topic())),
            ("GET", "/health", Right::Admin),
            ("GET", "/stats", Right::Admin),
            ("GET", "/openapi.json", Right::AnyKey),
            ("HEAD", "/asyncapi.json", Right::AnyKey),
            ("GET", "/connections", Right::Admin),
            ("DELETE", "/connections/1", Right::Admin),
            ("GET", "/config", Right::Admin),
            ("GET", "/", Right::Public),
            ("GET", "/metrics", Right::Admin),
            ("HEAD", "/metrics", Right::Admin),
            ("GET", "/livez", Right::Public),
            ("HEAD", "/ready%7A", Right::Public),
            ("POST", "/livez", Right::Public),
            ("POST", "/", Right::Public),
            ("GET", "/topics/a.b/messages?x=1", Right::Subscribe(topic())),
            ("GET", "/connections?x=1", Right::Admin),
            ("GET", "/metrics?format=x", Right::Admin),
        ] {
            assert_eq!(route(method, path).right(), expected, "{method} {path}");
        }
    }

    #[test]
    fn strangers_learn_of_no_path_whether_it_exists() {
        for (method, path) in [
            ("GET", "//"),
            ("GET", "/nowhere"),
            ("GET", "/%zz"),
            ("PUT", "/topics"),
            ("get", "/stats"),
            ("GET", "/topics/a%2Fb"),
            ("GET", "/connections/1"),
            ("DELETE", "/connections/x"),
            ("GET", "/livez/"),
            ("GET", "//livez"),
            ("GET", "/livez/../stats"),
            ("GET", "/LIVEZ"),
        ] {
            assert_eq!(
                route(method, path).right(),
                Right::AnyKey,
                "{method} {path}"
            );
        }
    }
}
