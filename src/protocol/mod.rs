//! The wire protocol as types: names, requests, replies, error codes, frames.
//!
//! No I/O, no locks, no threads. Owns the text of every message that a client can receive.
//!
//! The client uses the rules for names and patterns, the gap reasons and the overflow policies; only the server uses the rest.

mod gap;
mod name;
mod overflow;
mod topic_filter;

#[cfg(feature = "server")]
mod encoding;
#[cfg(feature = "server")]
mod epoch;
#[cfg(feature = "server")]
mod error;
#[cfg(feature = "server")]
mod event;
#[cfg(feature = "server")]
mod event_stream;
#[cfg(feature = "server")]
mod frame;
#[cfg(feature = "server")]
mod json;
#[cfg(feature = "server")]
mod message;
#[cfg(feature = "server")]
mod reply;
#[cfg(feature = "server")]
mod request;
#[cfg(feature = "server")]
mod timestamp;
#[cfg(feature = "server")]
mod user;

pub use overflow::{OverflowPolicy, UnknownOverflowPolicy};

pub(crate) use gap::GapReason;
pub(crate) use name::{ClientId, TopicName};
pub(crate) use topic_filter::TopicPattern;

#[cfg(feature = "server")]
pub(crate) use self::{
    encoding::Encoding,
    epoch::EpochName,
    error::{ErrorCode, ErrorReply, InvalidMessage, NO_BLOCK_IN_CLUSTER, TOO_MANY_TOPICS},
    event::{EventFrame, NewEvent},
    event_stream::{EventId, TransferCoding},
    frame::{CloseCode, close_frame, ping_frame, pong_frame},
    gap::Gap,
    json::{NamedFields, StrictObject, as_string, as_whole_number, is_null},
    message::Message,
    name::{InvalidName, check_topic_name},
    reply::{
        Ack, NotJoined, Notice, push_ack, push_error, push_gap, push_not_joined, push_notice,
        push_pattern_ack, push_pattern_end, push_pong, push_presence_changes, push_presence_list,
        push_renewed, push_slow_consumer, push_withdrawn, push_withdrawn_pattern,
    },
    request::{
        PatternStart, PresentedToken, Request, RequestId, StartAt, Subscribe, SubscribePattern,
        parse_request, read_idempotent,
    },
    timestamp::{Timestamp, as_micros},
    topic_filter::TopicFilter,
    user::UserName,
};
#[cfg(all(fuzzing, feature = "server"))]
pub(crate) use request::{Position, read_any, read_publish};
