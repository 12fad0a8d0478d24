//! What each row of the API needs the right to. Knows no key.

use super::router::{self, Route};
use crate::protocol::TopicName;

/// What the right is needed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nobody is asked who he is.
    Nothing,
    /// Any right at all: what is to be had here is no secret, but nothing is told to strangers.
    Credential,
    /// Everything that is about the whole server, and which topics there are.
    Admin,
    Publish(TopicName),
    Subscribe(TopicName),
}

/// What a request needs, by its method (as sent) and path (still percent-encoded).
pub(crate) fn need(method: &str, path: &str) -> Need {
    if router::is_public(path) {
        return Need::Nothing;
    }
    match router::route(method, path) {
        Ok(Route::Livez | Route::Readyz | Route::Dashboard) => Need::Nothing,
        Ok(
            Route::ListTopics
            | Route::CreateTopic
            | Route::DeleteTopic(_)
            | Route::ListConnections
            | Route::CloseConnection(_)
            | Route::ShowSettings
            | Route::Health
            | Route::Stats
            | Route::Metrics,
        ) => Need::Admin,
        Ok(Route::ShowTopic(topic) | Route::ReadMessages(topic)) => Need::Subscribe(topic),
        Ok(Route::PublishMessage(topic)) => Need::Publish(topic),
        // The contract; and that there is nothing else.
        Ok(Route::OpenApi | Route::AsyncApi) | Err(_) => Need::Credential,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_needs_its_right() {
        let topic = || TopicName::new("a.b").unwrap();
        for (method, path, expected) in [
            ("GET", "/topics", Need::Admin),
            ("POST", "/topics", Need::Admin),
            ("DELETE", "/topics/a.b", Need::Admin),
            ("GET", "/topics/a.b", Need::Subscribe(topic())),
            ("HEAD", "/topics/%61.b", Need::Subscribe(topic())),
            ("GET", "/topics/a.b/messages", Need::Subscribe(topic())),
            ("POST", "/topics/a%2Eb/messages", Need::Publish(topic())),
            ("GET", "/health", Need::Admin),
            ("GET", "/stats", Need::Admin),
            ("GET", "/openapi.json", Need::Credential),
            ("HEAD", "/asyncapi.json", Need::Credential),
            ("GET", "/connections", Need::Admin),
            ("DELETE", "/connections/1", Need::Admin),
            ("GET", "/config", Need::Admin),
            ("GET", "/", Need::Nothing),
            ("GET", "/metrics", Need::Admin),
            ("HEAD", "/metrics", Need::Admin),
            ("GET", "/livez", Need::Nothing),
            ("HEAD", "/ready%7A", Need::Nothing),
            ("POST", "/livez", Need::Nothing),
        ] {
            assert_eq!(need(method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_for_strangers() {
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
            assert_eq!(need(method, path), Need::Credential, "{method} {path}");
        }
    }
}
