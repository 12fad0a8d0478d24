//! Routes: what a request asks for, with its decoded and validated parts, and the right that it needs.
//!
//! The HTTP edge turns each head into a [`Route`], once. Nothing later looks at the path or the query.

use super::events::EventsQuery;
use super::{problems, query};
use crate::metrics::Format;
use crate::protocol::{StartAt, TopicFilter, TopicName};
use crate::server::http::cors::Cors;
use crate::server::http::head::Head;
use crate::server::http::{Problem, media, target};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/ws`, with any method. It is no REST route: the connection becomes a WebSocket, or is refused.
    WebSocket,
    Dashboard,
    /// Those that match, or all.
    ListTopics(Option<TopicFilter>),
    CreateTopic,
    ShowTopic(TopicName),
    ChangeTopic(TopicName),
    DeleteTopic(TopicName),
    ReadMessages(TopicName, StartAt),
    PublishMessage(TopicName),
    /// At most this many of them.
    ListSubscribers(TopicName, usize),
    /// The connection becomes an event stream, or the request is refused. No worker carries it out.
    StreamEvents(Box<EventsQuery>),
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
    /// OPTIONS of a path that has these methods. The edge answers it.
    Options(&'static str),
    /// A page of another origin asks for a path that has these methods. The edge answers it.
    Preflight(&'static str),
    Refused(Refusal),
}

/// There is no such path, the path does not have this method, or the query is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) problem: Problem,
    /// Who may see the problem.
    right: Right,
    /// The methods of the path, if it has not the one that was asked for.
    allow: Option<&'static str>,
}

/// The methods of all paths together.
const ALL_METHODS: &str = "GET, HEAD, POST, PATCH, DELETE, OPTIONS";

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
        let (right, allow) = (self, None);
        Refusal {
            problem,
            right,
            allow,
        }
    }

    fn wrong_method(self, allow: &'static str) -> Refusal {
        Refusal {
            allow: Some(allow),
            ..self.refusal(problems::method_not_allowed(allow))
        }
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
        match find(method, head) {
            Ok(route) => route,
            Err(refusal) if method == "OPTIONS" => Route::of_options(refusal, head),
            Err(refusal) => Route::Refused(refusal),
        }
    }

    /// No path has OPTIONS as a method of its own, so `refusal` says which the path has. A preflight gets no other answer for a path that does not exist, so that
    /// the page can read the answer to the request itself.
    fn of_options(refusal: Refusal, head: &Head) -> Route {
        match refusal.allow {
            allow if Cors::is_preflight(head) => Route::Preflight(allow.unwrap_or(ALL_METHODS)),
            Some(allow) => Route::Options(allow),
            None => Route::Refused(Right::Public.refusal(refusal.problem)),
        }
    }

    /// Decides which right is needed.
    pub(crate) fn right(&self) -> Right {
        match self {
            // The state of the server for a machine; a page without data, which a browser loads before it has a key.
            Route::Livez | Route::Readyz | Route::Dashboard => Right::Public,
            // A handshake presents its key in more ways, and is checked on its own.
            Route::WebSocket => Right::Public,
            // Which methods a path has is no secret, and who asks has no key: a browser, or the health check of a proxy.
            Route::Options(_) | Route::Preflight(_) => Right::Public,
            Route::ListTopics(_)
            | Route::CreateTopic
            | Route::ChangeTopic(_)
            | Route::DeleteTopic(_)
            | Route::ListConnections(_)
            | Route::CloseConnection(_)
            | Route::ShowSettings
            | Route::Health
            | Route::Stats
            | Route::ListNodes
            | Route::Metrics(_) => Right::Admin,
            Route::ShowTopic(topic)
            | Route::ReadMessages(topic, _)
            | Route::ListSubscribers(topic, _) => Right::Subscribe(topic.clone()),
            Route::StreamEvents(query) => Right::Subscribe(query.topic.clone()),
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
                | Route::ChangeTopic(_)
                | Route::DeleteTopic(_)
                | Route::PublishMessage(_)
                | Route::CloseConnection(_)
        )
    }

    /// A path that can only be read. `right` is that of whoever may see that another method is wrong.
    fn read_by(self, method: &str, right: Right) -> Result<Route, Refusal> {
        match method {
            "GET" => Ok(self),
            _ => Err(right.wrong_method("GET, HEAD, OPTIONS")),
        }
    }
}

fn find(method: &str, head: &Head) -> Result<Route, Refusal> {
    let segments = target::segments(&head.path).map_err(problems::malformed_path)?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let public = |route: Route| route.read_by(method, Right::Public);
    let read = |route: Route| route.read_by(method, Right::AnyKey);
    match segments[..] {
        ["*"] if method == "OPTIONS" && head.path == "*" => {
            Err(Right::Public.wrong_method(ALL_METHODS))
        }
        ["ws"] if method == "OPTIONS" => Err(Right::Public.wrong_method("GET, OPTIONS")),
        ["ws"] => Ok(Route::WebSocket),
        [] if head.path == "/" => public(Route::Dashboard),
        ["livez"] => public(Route::Livez),
        ["readyz"] => public(Route::Readyz),
        ["topics"] => match method {
            "GET" => list_topics(head),
            "POST" => Ok(Route::CreateTopic),
            _ => Err(Right::AnyKey.wrong_method("GET, HEAD, POST, OPTIONS")),
        },
        ["topics", name] if !name.is_empty() => topic(topic_name(name)?, method),
        ["topics", name, "messages"] if !name.is_empty() => {
            messages(topic_name(name)?, method, head)
        }
        ["topics", name, "events"] if !name.is_empty() => {
            stream_events(&topic_name(name)?, method, head)
        }
        ["topics", name, "subscribers"] if !name.is_empty() => {
            list_subscribers(topic_name(name)?, method, head)
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
        ["connections" | "metrics"] => Err(Right::AnyKey.wrong_method("GET, HEAD, OPTIONS")),
        _ => Err(problems::path_not_found().into()),
    }
}

fn topic(name: TopicName, method: &str) -> Result<Route, Refusal> {
    match method {
        "GET" => Ok(Route::ShowTopic(name)),
        "PATCH" => Ok(Route::ChangeTopic(name)),
        "DELETE" => Ok(Route::DeleteTopic(name)),
        _ => Err(Right::AnyKey.wrong_method("GET, HEAD, PATCH, DELETE, OPTIONS")),
    }
}

fn messages(name: TopicName, method: &str, head: &Head) -> Result<Route, Refusal> {
    match method {
        "GET" => match query::read_history_query(head.query.as_deref()) {
            Ok(start_at) => Ok(Route::ReadMessages(name, start_at)),
            Err(problem) => Err(Right::Subscribe(name).refusal(problem)),
        },
        "POST" => Ok(Route::PublishMessage(name)),
        _ => Err(Right::AnyKey.wrong_method("GET, HEAD, POST, OPTIONS")),
    }
}

fn list_subscribers(name: TopicName, method: &str, head: &Head) -> Result<Route, Refusal> {
    match method {
        "GET" => match query::read_subscriber_limit(head.query.as_deref()) {
            Ok(limit) => Ok(Route::ListSubscribers(name, limit)),
            Err(problem) => Err(Right::Subscribe(name).refusal(problem)),
        },
        _ => Err(Right::AnyKey.wrong_method("GET, HEAD, OPTIONS")),
    }
}

fn stream_events(topic: &TopicName, method: &str, head: &Head) -> Result<Route, Refusal> {
    let refuse = |problem| Right::Subscribe(topic.clone()).refusal(problem);
    match method {
        "GET" => EventsQuery::read(topic.clone(), head)
            .map(|query| Route::StreamEvents(Box::new(query)))
            .map_err(refuse),
        _ => Err(Right::AnyKey.wrong_method("GET, HEAD, OPTIONS")),
    }
}

fn list_topics(head: &Head) -> Result<Route, Refusal> {
    let filter = query::read_match(head.query.as_deref());
    filter
        .map(Route::ListTopics)
        .map_err(|problem| Right::Admin.refusal(problem))
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
        _ => Err(Right::AnyKey.wrong_method("DELETE, OPTIONS")),
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
mod tests;
