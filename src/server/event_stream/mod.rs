//! Event streams: `GET /topics/{name}/events` as Server-Sent Events.
//!
//! A stream is a connection of [`websocket`](super::websocket) with another encoding and one subscription: publishers and the
//! writer thread `sse-w-N` send through its outbox; the connection's own thread reads the socket. Nothing here sends.
//!
//! Who ends whom: the peer's close is seen by the [`reader`], which aborts the connection; a deletion, a takeover, the overflow
//! policy, the drain and an administrator end it, and the writer sends what is queued and the end of the body, shuts down
//! sending, and waits briefly for the peer. A write that is not taken in time aborts it, which wakes the reader.

mod reader;

use uuid::Uuid;

pub(super) use self::reader::read;
#[cfg(all(test, shuttle))]
pub(super) use self::reader::send_heartbeat;

use super::http::Problem;
use super::http::cors::Cors;
use super::http::head::Head;
use super::http::request_line::Version;
use super::http::response::Response;
use super::rest::{EventsQuery, problems};
use super::websocket::{Connection, Session};
use crate::access::Principal;
use crate::broker::Broker;
use crate::protocol::{ErrorCode, ErrorReply, TransferCoding};
use crate::sync::Arc;

/// When an `EventSource` comes back after a cut. Times a random factor between 1 and 2, so that many do not come at once.
const RETRY_MILLIS: u32 = 2000;

/// HTTP/1.0 knows no chunks.
pub(super) fn transfer_coding(head: &Head) -> TransferCoding {
    match head.version {
        Version::Http10 => TransferCoding::UntilClose,
        Version::Http11 => TransferCoding::Chunked,
    }
}

/// The head of the response.
pub(super) fn response_head(coding: TransferCoding, cors: &Cors) -> Vec<u8> {
    let response = Response::new(200, "text/event-stream; charset=utf-8", Vec::new())
        .with_header("Cache-Control", "no-store")
        .with_header("X-Accel-Buffering", "no");
    let mut response = match coding {
        TransferCoding::Chunked => response.with_header("Transfer-Encoding", "chunked"),
        TransferCoding::UntilClose => response,
    };
    cors.add_to(&mut response);
    response.encode_head_of_stream()
}

/// Checks a HEAD, which subscribes to nothing: the topic must exist.
pub(super) fn check(broker: &Broker, query: &EventsQuery) -> Result<(), Problem> {
    match broker.topic_stats(&query.topic) {
        Ok(_) => Ok(()),
        Err(error) => Err(problems::topic_refused(&query.topic, error)),
    }
}

/// Subscribes, on a connection whose outbox is not open yet: the head of the response, the ack and what follows are queued,
/// and nothing is sent before [`Opening::run`](super::websocket::Opening::run).
///
/// # Errors
/// The response to send instead. Nothing is subscribed then.
pub(super) fn subscribe(
    connection: &Arc<Connection>,
    coding: TransferCoding,
    response_head: &[u8],
    query: &EventsQuery,
    principal: Principal,
    broker: &Arc<Broker>,
) -> Result<(), Problem> {
    let subscribe = query.subscribe()?;
    let mut head = response_head.to_vec();
    coding.push_retry(&mut head, retry_millis());
    connection.queue(&head);
    let mut session = Session::new(Arc::clone(connection), Arc::clone(broker), principal, 0);
    let subscribed = session.subscribe(subscribe, None);
    subscribed.map_err(|error| problem_of(error, query))
}

fn retry_millis() -> u32 {
    // A random number of 128 bits, of which 6 are fixed; these are not among them.
    let random = Uuid::new_v4().as_u64_pair().0 >> 32;
    RETRY_MILLIS + (random % u64::from(RETRY_MILLIS + 1)) as u32
}

/// What a refused subscribe is in REST.
fn problem_of(error: ErrorReply, query: &EventsQuery) -> Problem {
    let detail = error.message;
    match error.code {
        ErrorCode::TopicNotFound => problems::topic_not_found(query.topic.as_str()),
        ErrorCode::Forbidden => Problem::forbidden(detail),
        ErrorCode::LimitReached => Problem::new(429, "LIMIT_REACHED", detail),
        ErrorCode::RateLimited => Problem::rate_limited(detail),
        ErrorCode::ShuttingDown => problems::shutting_down(),
        ErrorCode::Unauthorized => Problem::unauthorized(),
        ErrorCode::Unavailable | ErrorCode::SlowConsumer => Problem::unavailable(detail),
        ErrorCode::BadRequest if query.has_last_event_id => {
            problems::invalid("Last-Event-ID is ahead of the topic")
        }
        ErrorCode::BadRequest => problems::invalid(detail),
        ErrorCode::Internal => Problem::internal(),
    }
}
