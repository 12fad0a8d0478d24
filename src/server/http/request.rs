//! A REST request as the edge makes it and a handler answers it: plain data, no socket.

use crate::server::rest::Route;

/// A response up to here reserves nothing: the number of connections bounds the number of such responses.
pub(crate) const SMALL_RESPONSE_BYTES: usize = 32 << 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// What is requested, with its decoded and validated parts.
    pub(crate) route: Route,
    /// Whether the label of the body allows JSON; also true without a label.
    pub(crate) body_may_be_json: bool,
    pub(crate) body: Vec<u8>,
    /// How many bytes the body of the response may have.
    pub(crate) max_response_bytes: usize,
    /// The place of a publish in the line of its topic, once it has waited there.
    pub(crate) place: Option<u64>,
}

impl Request {
    /// The request without its body, which reaches the worker through tiny_http.
    pub(crate) fn without_body(&self) -> Request {
        Request {
            route: self.route.clone(),
            body: Vec::new(),
            ..*self
        }
    }
}
