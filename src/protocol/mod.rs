//! What goes over the wire, as types: names, requests, replies, error codes, frames.
//!
//! Pure: no I/O, no locks, no threads. The text of every message a client can receive has its home here.
//!
//! The rules for names, gap reasons and overflow policies are for both sides; the rest is what the server makes and reads.

mod gap_reason;
mod name_rule;
mod overflow;

#[cfg(feature = "server")]
mod encoding;
#[cfg(feature = "server")]
mod error;
#[cfg(feature = "server")]
mod event;
#[cfg(feature = "server")]
mod frame;
#[cfg(feature = "server")]
mod gap;
#[cfg(feature = "server")]
mod json;
#[cfg(feature = "server")]
mod message;
#[cfg(feature = "server")]
mod name;
#[cfg(feature = "server")]
mod named;
#[cfg(feature = "server")]
mod reply;
#[cfg(feature = "server")]
mod request;
#[cfg(feature = "server")]
mod timestamp;

pub use overflow::{OverflowPolicy, UnknownOverflowPolicy};

pub(crate) use gap_reason::GapReason;
#[cfg(feature = "client")]
pub(crate) use name_rule::check_client_id;
pub(crate) use name_rule::check_topic_name;

#[cfg(feature = "server")]
pub(crate) use self::{
    encoding::Encoding,
    error::{ErrorCode, Fault, InvalidMessage},
    event::{EventFrame, NewEvent, whole_events},
    frame::{CloseCode, close_frame, ping_frame, pong_frame},
    gap::Gap,
    json::{StrictObject, as_string, as_whole_number, is_null},
    message::Message,
    name::{ClientId, InvalidRequestId, RequestId, TopicName},
    name_rule::InvalidName,
    named::Named,
    reply::{
        Ack, Notice, push_ack, push_error, push_gap, push_notice, push_pong, push_slow_consumer,
    },
    request::{Request, StartAt, Subscribe, parse_request},
    timestamp::Timestamp,
};
#[cfg(all(fuzzing, feature = "server"))]
pub(crate) use request::{read_any, read_publish};
