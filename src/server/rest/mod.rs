//! The REST API: plain functions from a request to a response.
//!
//! Owns the routes, the right that each needs, and the response of each. Never touches a socket and never waits. The
//! handlers check no rights: the HTTP edge does, before it sends a request to a worker. A response to HEAD has the body of
//! its GET, which the edge does not send.

mod body;
mod connections;
pub(crate) mod documents;
mod events;
#[cfg(test)]
pub(crate) mod fixture;
mod history;
mod messages;
mod metrics;
mod observability;
pub(crate) mod problems;
mod query;
mod route;
mod settings;
mod subscribers;
#[cfg(test)]
mod tests;
mod topic_options;
mod topics;

use std::time::Instant;

use uuid::Uuid;

pub(crate) use connections::{Connected, ConnectionLine};
pub(crate) use events::EventsQuery;
pub(crate) use messages::PublishWait;
pub(crate) use metrics::Vitals;
pub(crate) use observability::check_ready;
pub(crate) use route::{Right, Route};

use super::dashboard;
use super::http::{Problem, Request, Response};
use crate::broker::Broker;
use crate::config::Setting;
use crate::sync::Arc;

/// What the handlers need.
pub(crate) struct Api {
    broker: Arc<Broker>,
    /// Opaque; a new one after each start.
    instance: String,
    started: Instant,
    connections: Arc<dyn Connected>,
    vitals: Vitals,
    settings: Vec<Setting>,
}

impl Api {
    /// The uptime begins now.
    pub(crate) fn new(
        broker: Arc<Broker>,
        connections: Arc<dyn Connected>,
        vitals: Vitals,
        settings: Vec<Setting>,
    ) -> Api {
        Api {
            broker,
            instance: format!("{:016x}", Uuid::new_v4().as_u64_pair().0),
            started: Instant::now(),
            connections,
            vitals,
            settings,
        }
    }

    /// The response to a request, which may be a problem.
    pub(crate) fn respond(&self, request: &Request) -> Response {
        self.handle(request)
            .unwrap_or_else(|problem| Response::from(&problem))
            .bounded(request)
    }

    fn handle(&self, request: &Request) -> Result<Response, Problem> {
        match &request.route {
            Route::Dashboard => Ok(dashboard::page()),
            Route::ListTopics(filter) => self.list_topics(request, filter.as_ref()),
            Route::CreateTopic => self.create_topic(request),
            Route::ShowTopic(name) => self.show_topic(name),
            Route::ChangeTopic(name) => self.change_topic(name, request),
            Route::DeleteTopic(name) => self.delete_topic(name),
            Route::ReadMessages(name, start_at) => self.read_messages(name, start_at, request),
            Route::PublishMessage(name) => self.publish_message(name, request),
            Route::ListSubscribers(name, limit) => self.list_subscribers(name, *limit, request),
            Route::ListConnections(limit) => self.list_connections(*limit, request),
            Route::CloseConnection(id) => self.close_connection(*id),
            Route::ShowSettings => Ok(self.show_settings()),
            Route::Health => Ok(self.health()),
            Route::Stats => self.stats(request),
            Route::ListNodes => self.list_nodes(),
            Route::Metrics(format) => self.metrics(*format, request),
            Route::Livez => Ok(self.livez()),
            Route::Readyz => self.readyz(),
            Route::OpenApi => Ok(self.openapi()),
            Route::AsyncApi => Ok(self.asyncapi()),
            Route::Refused(refusal) => Err(refusal.problem.clone()),
            // Not sent to a worker.
            Route::WebSocket | Route::StreamEvents(_) | Route::Options(_) | Route::Preflight(_) => {
                Err(problems::path_not_found())
            }
        }
    }

    /// Refuses every change once the server drains, before its body is parsed.
    fn refuse_while_draining(&self) -> Result<(), Problem> {
        if self.broker.is_draining() {
            return Err(problems::shutting_down());
        }
        Ok(())
    }
}
