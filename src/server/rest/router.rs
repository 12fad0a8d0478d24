//! Which paths exist and which methods they take. Knows nothing of what they answer.

use super::problems;
use crate::protocol::TopicName;
use crate::server::http::{Problem, target};

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Dashboard,
    ListTopics,
    CreateTopic,
    ShowTopic(TopicName),
    DeleteTopic(TopicName),
    ReadMessages(TopicName),
    PublishMessage(TopicName),
    ListConnections,
    CloseConnection(u64),
    ShowSettings,
    Health,
    Stats,
    Metrics,
    Livez,
    Readyz,
    OpenApi,
    AsyncApi,
}

/// What a path names, whatever is done with it.
enum Resource {
    Dashboard,
    Topics,
    Topic(TopicName),
    Messages(TopicName),
    Connections,
    Connection(u64),
    Settings,
    Health,
    Stats,
    Metrics,
    Livez,
    Readyz,
    OpenApi,
    AsyncApi,
}

/// Whether the path is for everyone, whatever the method: it tells a machine how the server is, or is the page without
/// any data, which a browser asks for before it has a key.
pub(super) fn is_public(path: &str) -> bool {
    matches!(
        locate(path),
        Ok(Resource::Livez | Resource::Readyz | Resource::Dashboard)
    )
}

/// Finds the route of a method (as sent) and a path (still percent-encoded).
pub(super) fn route(method: &str, path: &str) -> Result<Route, Problem> {
    let resource = locate(path)?;
    let allow = resource.allow();
    // HEAD is GET without the body.
    let method = if method == "HEAD" { "GET" } else { method };
    match (resource, method) {
        (Resource::Dashboard, "GET") => Ok(Route::Dashboard),
        (Resource::Topics, "GET") => Ok(Route::ListTopics),
        (Resource::Topics, "POST") => Ok(Route::CreateTopic),
        (Resource::Topic(name), "GET") => Ok(Route::ShowTopic(name)),
        (Resource::Topic(name), "DELETE") => Ok(Route::DeleteTopic(name)),
        (Resource::Messages(name), "GET") => Ok(Route::ReadMessages(name)),
        (Resource::Messages(name), "POST") => Ok(Route::PublishMessage(name)),
        (Resource::Connections, "GET") => Ok(Route::ListConnections),
        (Resource::Connection(id), "DELETE") => Ok(Route::CloseConnection(id)),
        (Resource::Settings, "GET") => Ok(Route::ShowSettings),
        (Resource::Health, "GET") => Ok(Route::Health),
        (Resource::Stats, "GET") => Ok(Route::Stats),
        (Resource::Metrics, "GET") => Ok(Route::Metrics),
        (Resource::Livez, "GET") => Ok(Route::Livez),
        (Resource::Readyz, "GET") => Ok(Route::Readyz),
        (Resource::OpenApi, "GET") => Ok(Route::OpenApi),
        (Resource::AsyncApi, "GET") => Ok(Route::AsyncApi),
        _ => Err(problems::method_not_allowed(allow)),
    }
}

/// The topic to which a request publishes a message, by its method (as sent) and path (still percent-encoded).
pub(crate) fn published_topic(method: &str, path: &str) -> Option<TopicName> {
    match route(method, path) {
        Ok(Route::PublishMessage(topic)) => Some(topic),
        _ => None,
    }
}

impl Resource {
    /// The value of the `Allow` header.
    fn allow(&self) -> &'static str {
        match self {
            Resource::Topics | Resource::Messages(_) => "GET, HEAD, POST",
            Resource::Topic(_) => "GET, HEAD, DELETE",
            Resource::Connection(_) => "DELETE",
            Resource::Dashboard
            | Resource::Connections
            | Resource::Settings
            | Resource::Health
            | Resource::Stats
            | Resource::Metrics
            | Resource::Livez
            | Resource::Readyz
            | Resource::OpenApi
            | Resource::AsyncApi => "GET, HEAD",
        }
    }
}

fn locate(path: &str) -> Result<Resource, Problem> {
    let segments = target::segments(path).map_err(problems::malformed_path)?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments[..] {
        [] if path == "/" => Ok(Resource::Dashboard),
        ["topics"] => Ok(Resource::Topics),
        ["topics", name] if !name.is_empty() => topic_name(name).map(Resource::Topic),
        ["topics", name, "messages"] if !name.is_empty() => {
            topic_name(name).map(Resource::Messages)
        }
        ["connections"] => Ok(Resource::Connections),
        ["connections", id] if !id.is_empty() => connection_id(id).map(Resource::Connection),
        ["config"] => Ok(Resource::Settings),
        ["health"] => Ok(Resource::Health),
        ["stats"] => Ok(Resource::Stats),
        ["metrics"] => Ok(Resource::Metrics),
        ["livez"] => Ok(Resource::Livez),
        ["readyz"] => Ok(Resource::Readyz),
        ["openapi.json"] => Ok(Resource::OpenApi),
        ["asyncapi.json"] => Ok(Resource::AsyncApi),
        _ => Err(problems::path_not_found()),
    }
}

/// No topic can have a name that breaks the rule, so in a path it is one that does not exist.
fn topic_name(name: &str) -> Result<TopicName, Problem> {
    TopicName::new(name).map_err(|_| problems::topic_not_found(name))
}

/// Ids are written without sign and leading zeros; whatever is not is the id of no connection.
fn connection_id(text: &str) -> Result<u64, Problem> {
    let id = text.parse().ok();
    id.filter(|id: &u64| id.to_string() == text)
        .ok_or_else(|| problems::connection_not_found(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(method: &str, path: &str) -> (u16, &'static str, String) {
        let problem = route(method, path).unwrap_err();
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
            ("GET", "/topics/o/messages", Route::ReadMessages(name("o"))),
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
            ("GET", "/connections", Route::ListConnections),
            ("DELETE", "/connections/17", Route::CloseConnection(17)),
            ("GET", "/config", Route::ShowSettings),
            ("GET", "/health", Route::Health),
            ("GET", "/stats", Route::Stats),
            ("GET", "/metrics", Route::Metrics),
            ("GET", "/livez", Route::Livez),
            ("GET", "/readyz", Route::Readyz),
            ("GET", "/openapi.json", Route::OpenApi),
            ("GET", "/asyncapi.json", Route::AsyncApi),
        ];
        for (method, path, expected) in rows {
            if method == "GET" {
                assert_eq!(route("HEAD", path).unwrap(), expected, "HEAD {path}");
            }
            assert_eq!(route(method, path).unwrap(), expected, "{method} {path}");
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
            let refused = route("PUT", path).unwrap_err();
            let [("Allow", allow)] = &refused.headers[..] else {
                panic!("no Allow for {path}")
            };
            for method in methods {
                let listed = allow.split(", ").any(|allowed| allowed == method);
                match route(method, path) {
                    Ok(_) => assert!(listed, "{method} {path}"),
                    Err(problem) => assert!(!listed && problem.status == 405, "{method} {path}"),
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
            "/ws",
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
            route("GET", "/%74opics/%6frders%3A1").unwrap(),
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
}
