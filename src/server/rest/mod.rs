//! The REST API: plain functions from a request to a response.
//!
//! Owns which paths exist and what each answers. Never touches a socket, never waits, never checks who may ask:
//! the door did that before. An answer to HEAD has the body of its GET; whoever writes it leaves the body out.

mod body;
mod connections;
pub(crate) mod documents;
#[cfg(test)]
mod fixture;
mod history;
mod messages;
mod metrics;
mod new_topic;
mod observability;
mod permission;
mod problems;
mod query;
mod router;
mod settings;
#[cfg(test)]
mod tests;
mod topics;
pub(crate) mod waiting;

use std::time::Instant;

use uuid::Uuid;

pub(crate) use connections::{Connected, ConnectionLine};
pub(crate) use metrics::Vitals;
pub(crate) use permission::{Need, need};
use router::Route;
pub(crate) use router::published_topic;

use super::dashboard;
use super::http::{Problem, Request, Response};
use crate::broker::{Broker, Topic};
use crate::config::Setting;
use crate::protocol::TopicName;
use crate::sync::Arc;

/// Everything a REST request can ask about.
pub(crate) struct Api {
    broker: Arc<Broker>,
    /// Opaque, and another one after each start.
    instance: String,
    started: Instant,
    connections: Arc<dyn Connected>,
    vitals: Vitals,
    settings: Vec<Setting>,
}

impl Api {
    /// An API whose uptime begins now.
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

    /// Answers one request; what is wrong with it becomes a problem body.
    pub(crate) fn respond(&self, request: &Request) -> Response {
        self.answer(request)
            .unwrap_or_else(|problem| Response::problem(&problem))
            .within_room(request)
    }

    fn answer(&self, request: &Request) -> Result<Response, Problem> {
        match router::route(&request.method, &request.path)? {
            Route::Dashboard => Ok(dashboard::page()),
            Route::ListTopics => Ok(self.list_topics(request)),
            Route::CreateTopic => self.create_topic(request),
            Route::ShowTopic(name) => self.show_topic(&name),
            Route::DeleteTopic(name) => self.delete_topic(&name),
            Route::ReadMessages(name) => self.read_messages(&name, request),
            Route::PublishMessage(name) => self.publish_message(&name, request),
            Route::ListConnections => self.list_connections(request),
            Route::CloseConnection(id) => self.close_connection(id),
            Route::ShowSettings => Ok(self.show_settings()),
            Route::Health => Ok(self.health()),
            Route::Stats => Ok(self.stats(request)),
            Route::Metrics => self.metrics(request),
            Route::Livez => Ok(self.livez()),
            Route::Readyz => self.readyz(),
            Route::OpenApi => Ok(self.openapi()),
            Route::AsyncApi => Ok(self.asyncapi()),
        }
    }

    fn topic(&self, name: &TopicName) -> Result<Arc<Topic>, Problem> {
        self.broker
            .topic(name.as_str())
            .ok_or_else(|| problems::topic_not_found(name.as_str()))
    }

    /// Changes are refused from the moment the server drains, whatever is in them.
    fn refuse_while_draining(&self) -> Result<(), Problem> {
        if self.broker.is_draining() {
            return Err(problems::shutting_down());
        }
        Ok(())
    }
}
