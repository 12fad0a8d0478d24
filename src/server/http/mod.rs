//! HTTP/1.1 at the edge: strict reading of requests, writing of responses, and the way to tiny_http.
//!
//! In reading order: [`serve`] is the loop of one connection; [`stream`] reads a request under an absolute
//! deadline, with [`scan`], [`head`] and [`body`] judging the bytes; [`gateway`] hands clean requests to the REST
//! workers; [`answer`] is what goes back, and [`large_answers`] bounds how much memory that takes, with [`bounded_body`]. [`target`], [`origin`]
//! and [`media`] read what clients write freely.
//! Nothing here knows topics or WebSocket frames.

pub(crate) mod answer;
pub(crate) mod authority;
pub(crate) mod body;
pub(crate) mod bounded_body;
pub(crate) mod deadline;
pub(crate) mod fields;
pub(crate) mod gateway;
pub(crate) mod head;
pub(crate) mod large_answers;
pub(crate) mod media;
pub(crate) mod message;
pub(crate) mod origin;
pub(crate) mod problem;
pub(crate) mod request_line;
pub(crate) mod scan;
pub(crate) mod serve;
mod status;
pub(crate) mod stream;
pub(crate) mod target;

pub(crate) use message::{Request, Response};
pub(crate) use problem::Problem;
