//! What goes over the wire, as types: names, requests, replies, error codes, frames.
//!
//! Pure: no I/O, no locks, no threads. The text of every message a client can receive has its home here.

mod error;
mod event;
mod frame;
mod gap;
mod json;
mod message;
mod name;
mod named;
mod reply;
mod request;
mod timestamp;

pub(crate) use error::Fault;
pub(crate) use error::{ErrorCode, InvalidMessage, InvalidName};
pub(crate) use event::{EventFrame, NewEvent, whole_events};
pub(crate) use frame::{CloseCode, close_frame, ping_frame, pong_frame};
pub(crate) use gap::{Gap, GapReason};
pub(crate) use json::{StrictObject, as_string, as_whole_number, is_null};
pub(crate) use message::Message;
pub(crate) use name::RequestId;
pub(crate) use name::{ClientId, TopicName};
pub(crate) use named::Named;
pub(crate) use reply::{
    Ack, Notice, push_ack, push_error, push_gap, push_notice, push_pong, push_slow_consumer,
};
pub(crate) use request::{Request, StartAt, Subscribe, parse_request};
#[cfg(fuzzing)]
pub(crate) use request::{read_any, read_publish};
pub(crate) use timestamp::Timestamp;
