//! The origins whose pages may act on this server, as the settings list them, and the log of those that may not.

use super::cors::Cors;
use super::head::Head;
use super::origin;
use super::problem::Problem;
use crate::limited_log::{LimitedLog, limited};
use crate::server::connection_info::ConnectionInfo;
use crate::server::rest::Route;

/// How much of a refused origin is logged. A browser sends no longer one than a host name allows.
const MAX_LOGGED_CHARS: usize = 300;

pub(crate) struct OriginPolicy {
    listed: Vec<String>,
    refused_log: LimitedLog,
}

impl OriginPolicy {
    pub(crate) fn new(listed: Vec<String>) -> OriginPolicy {
        OriginPolicy {
            listed,
            refused_log: LimitedLog::new("requests of foreign origins"),
        }
    }

    /// What the page that sent this request may read of its response.
    pub(crate) fn cors(&self, head: &Head) -> Cors {
        // Without listed origins nothing is looked up.
        match self.listed.is_empty() {
            true => Cors::default(),
            false => Cors::of(head, &self.listed),
        }
    }

    /// The same for a request whose head was refused.
    pub(crate) fn cors_of_refused_head(&self, received: &[u8]) -> Cors {
        Cors::of_refused_head(received, &self.listed)
    }

    /// Lets every page read, because it cannot see the response. Other methods need the same host or a listed origin, and so
    /// does an event stream, which takes a connection and the place of another subscriber. A preflight needs a listed one.
    pub(crate) fn check(
        &self,
        head: &Head,
        route: &Route,
        connection: &ConnectionInfo,
    ) -> Result<(), Problem> {
        let is_allowed = match route {
            Route::Preflight(_) => Cors::of(head, &self.listed).is_allowed(),
            Route::StreamEvents(_) => origin::allowed(head, &self.listed),
            _ if matches!(head.method.as_str(), "GET" | "HEAD") => true,
            _ => origin::allowed(head, &self.listed),
        };
        match is_allowed {
            true => Ok(()),
            false => Err(self.refuse(
                head,
                connection,
                "Requests from this origin are not allowed",
            )),
        }
    }

    /// A WebSocket needs the same host or a listed origin.
    pub(crate) fn check_handshake(
        &self,
        head: &Head,
        connection: &ConnectionInfo,
    ) -> Result<(), Problem> {
        match origin::allowed(head, &self.listed) {
            true => Ok(()),
            false => Err(self.refuse(head, connection, "This Origin may not connect")),
        }
    }

    fn refuse(&self, head: &Head, connection: &ConnectionInfo, detail: &str) -> Problem {
        let origins: Vec<&str> = head.values("origin").collect();
        let origin: String = origins.join(", ").chars().take(MAX_LOGGED_CHARS).collect();
        // `?` escapes what the client chose.
        limited!(
            self.refused_log,
            warn,
            "a request of a foreign origin was refused; PUBSUB_ALLOWED_ORIGINS lists those that are allowed",
            connection = connection.id,
            peer = %connection.client(),
            method = head.method,
            ?origin
        );
        Problem::forbidden(detail)
    }
}
