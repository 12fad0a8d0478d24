//! The HTTP edge: strict reading of HTTP/1.1 requests, writing of responses, and the way to tiny_http.
//!
//! In reading order: [`serve`] is the loop of one connection. [`stream`] reads a request under an absolute deadline;
//! [`scan`], [`head`] and [`body`] check the bytes. A [`Request`] is what a handler gets, a [`Response`] what it returns;
//! [`gateway`] carries both through tiny_http, and [`large_responses`] bounds the memory they take. [`target`],
//! [`origin`] and [`media`] parse values that clients choose freely; [`origin_policy`] and [`cors`] decide what pages of other
//! origins may do and read.
//! Nothing here knows WebSocket frames.

pub(crate) mod authority;
pub(crate) mod body;
pub(crate) mod cors;
pub(crate) mod deadline;
pub(crate) mod fields;
pub(crate) mod gateway;
pub(crate) mod head;
pub(crate) mod large_responses;
pub(crate) mod media;
pub(crate) mod origin;
pub(crate) mod origin_policy;
pub(crate) mod problem;
pub(crate) mod request;
pub(crate) mod request_line;
pub(crate) mod response;
pub(crate) mod scan;
pub(crate) mod serve;
pub(crate) mod stream;
pub(crate) mod target;

pub(crate) use problem::Problem;
pub(crate) use request::Request;
pub(crate) use response::Response;
