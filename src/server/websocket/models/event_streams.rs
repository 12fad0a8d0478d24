//! Event streams beside a WebSocket: each has every event once and in order, or as a gap; it consists of whole chunks with one event
//! each; and when its client id is taken over or its topic is deleted, it ends with the notice and the end of the body.
//!
//! Threads: a publisher of small and large events, which all streams of a coding share; a WebSocket; two streams, one of which
//! replays; a newer stream that takes the older over, or a thread that deletes the topic; the writers. Meanwhile the reader of a
//! slow stream sends heartbeats. The topic keeps two events, so that there are gaps.

use super::super::end::EndReason;
use super::holds;
use super::peer::{Received, ack, check_events, notice, reached};
use super::setup::{Client, TOPIC, append, append_payload, small_broker, subscribe_as, topic};
use super::socket::{ModelSocket, Takes};
use crate::broker::{Broker, ReadBatch, Topic};
use crate::config::OverflowPolicy;
use crate::protocol::{TopicName, TransferCoding};
use crate::server::event_stream::send_heartbeat;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Arc, Time};

const EVENTS: u64 = 4;
const REPLACED: &str = "subscription_replaced";
const DELETED: &str = "topic_deleted";

/// A payload that is shared, not copied, and becomes several lines of an event.
fn large_payload() -> String {
    format!("[\"{}\",\r\n1,\n2]", "x".repeat(200))
}

/// Publishes small and large events by turns, until the topic is deleted.
fn publisher(topic: &Arc<Topic>) -> JoinHandle<u64> {
    let topic = Arc::clone(topic);
    thread::spawn(move || {
        let mut published = 0;
        for event in 0..EVENTS {
            let appended = match event % 2 {
                0 => append_payload(&topic, &large_payload()),
                _ => append(&topic),
            };
            topic.fan_out(&mut ReadBatch::default());
            published += u64::from(appended.is_some());
        }
        published
    })
}

fn websocket(broker: &Arc<Broker>, id: u64) -> Client {
    let mut client = Client::connect(broker, id, Takes::Everything);
    client.ask(&subscribe_as(TOPIC, "websocket", "s"));
    client
}

/// Waits until the connection has ended, leaves as its reader does then, and checks what it has counted.
fn leave(client: Client) -> Vec<Received> {
    client.socket.wait_until_closed();
    let (connection, socket) = (Arc::clone(&client.connection), client.socket.clone());
    connection.abort(EndReason::PeerGone);
    client.leave();
    let received = socket.received_whole();
    let is_event = |received: &&Received| matches!(received, Received::Event { .. });
    let (delivered, _) = connection.tally();
    assert_eq!(
        received.iter().filter(is_event).count() as u64,
        delivered,
        "the count differs from the received events"
    );
    assert_eq!(
        (connection.subscription_count(), connection.pending_bytes()),
        (0, 0)
    );
    received
}

/// Checks that a stream ends with this notice, a comment that says why, and the end of the body. Returns what comes before, and
/// the seq in the notice.
fn before_the_end<'a>(
    received: &'a [Received],
    text: &str,
    coding: TransferCoding,
) -> (&'a [Received], Option<u64>) {
    let at = notice(received, text).expect("no notice at the end of a stream");
    let Received::Notice { seq, .. } = received[at] else {
        unreachable!("it is a notice")
    };
    let mut last = &received[at + 1..];
    if coding == TransferCoding::Chunked {
        let (end, before) = last.split_last().expect("nothing behind the notice");
        assert_eq!(*end, Received::EndOfBody, "another end of a stream");
        last = before;
    }
    let reason = Received::Comment(text.replace('_', " "));
    assert_eq!(last.last(), Some(&reason), "another reason");
    let are_comments = last
        .iter()
        .all(|received| matches!(received, Received::Comment(_)));
    assert!(are_comments, "more behind the notice: {last:?}");
    (&received[..at], seq)
}

fn has_all(received: &[Received]) -> bool {
    let begin = ack(received, "").map_or(0, |(_, seq)| seq);
    begin.max(reached(received, TOPIC)) == EVENTS
}

fn taken_over(coding: TransferCoding) {
    let broker = small_broker(2, OverflowPolicy::DropOldest);
    let topic = topic(&broker);
    let websocket = websocket(&broker, 1);
    let older = Client::stream(&broker, 2, Takes::Some, coding, "client_id=c");
    let publisher = publisher(&topic);
    send_heartbeat(&older.connection);
    let other = TransferCoding::Chunked;
    let replaying = Client::stream(&broker, 3, Takes::Some, other, "after_seq=0");
    send_heartbeat(&older.connection);
    let newer = Client::stream(&broker, 4, Takes::Everything, coding, "client_id=c");
    assert_eq!(publisher.join().unwrap(), EVENTS);
    let older = leave(older);
    for client in [&websocket, &replaying] {
        client
            .socket
            .wait_until(|received| reached(received, TOPIC) == EVENTS);
    }
    newer.socket.wait_until(has_all);
    assert_eq!(
        (topic.subscriber_count(), broker.subscription_count()),
        (3, 3)
    );
    let [websocket, replaying, newer] = [websocket, replaying, newer].map(|client| {
        client.connection.end(EndReason::Shutdown);
        leave(client)
    });
    assert_eq!(
        (topic.subscriber_count(), broker.subscription_count()),
        (0, 0)
    );
    assert_eq!(check_events(&websocket, TOPIC, 0), EVENTS);
    assert_eq!(check_events(&replaying, TOPIC, 0), EVENTS);
    assert_eq!(replaying.last(), Some(&Received::EndOfBody));
    let (before, end) = before_the_end(&older, REPLACED, coding);
    assert_eq!(
        Some(check_events(before, TOPIC, 0)),
        end,
        "another end than the notice says"
    );
    let (_, begin) = ack(&newer, "").expect("it was waited for");
    assert!(end <= Some(begin), "an event for both streams");
    assert_eq!(check_events(&newer, TOPIC, begin), EVENTS);
}

fn deleted() {
    let broker = small_broker(2, OverflowPolicy::DropOldest);
    let topic = topic(&broker);
    let websocket = websocket(&broker, 1);
    let codings = [TransferCoding::Chunked, TransferCoding::UntilClose];
    let slow = Client::stream(&broker, 2, Takes::Some, codings[0], "");
    let fast = Client::stream(&broker, 3, Takes::Everything, codings[1], "");
    let publisher = publisher(&topic);
    let deleter = thread::spawn({
        let broker = Arc::clone(&broker);
        move || broker.delete_topic(&TopicName::new(TOPIC).unwrap())
    });
    send_heartbeat(&slow.connection);
    send_heartbeat(&fast.connection);
    let published = publisher.join().unwrap();
    assert_eq!(deleter.join().unwrap(), Ok(true));
    assert_eq!(topic.stats().seq, published);
    let streams = [slow, fast].map(leave);
    let socket: ModelSocket = websocket.socket.clone();
    socket.wait_until(|received| notice(received, DELETED).is_some());
    assert_eq!(
        (topic.subscriber_count(), broker.subscription_count()),
        (0, 0)
    );
    websocket.connection.end(EndReason::Shutdown);
    assert_eq!(check_events(&leave(websocket), TOPIC, 0), published);
    for (received, coding) in streams.iter().zip(codings) {
        let (before, _) = before_the_end(received, DELETED, coding);
        let seq = check_events(before, TOPIC, 0);
        assert_eq!(seq, published, "events are missing before the deletion");
    }
}

#[test]
fn a_stream_that_is_taken_over_ends_where_the_newer_begins() {
    holds(Time::Stands, || taken_over(TransferCoding::Chunked));
}

#[test]
fn streams_of_different_codings_share_large_events() {
    holds(Time::Stands, || taken_over(TransferCoding::UntilClose));
}

#[test]
fn streams_read_a_deleted_topic_to_its_end() {
    holds(Time::Stands, deleted);
}
