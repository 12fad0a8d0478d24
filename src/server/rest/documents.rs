//! `/openapi.json` and `/asyncapi.json`: the contract for machines, compiled into the binary.

use super::Api;
use crate::server::http::Response;
use crate::server::http::response::JSON;

/// REST, as OpenAPI 3.1.
pub(crate) const OPENAPI: &str = include_str!("documents/openapi.json");

/// The WebSocket, as AsyncAPI 3.0.
pub(crate) const ASYNCAPI: &str = include_str!("documents/asyncapi.json");

impl Api {
    pub(super) fn openapi(&self) -> Response {
        document(OPENAPI)
    }

    pub(super) fn asyncapi(&self) -> Response {
        document(ASYNCAPI)
    }
}

fn document(text: &'static str) -> Response {
    Response::new(200, JSON, text.into())
}

#[cfg(test)]
mod tests;
