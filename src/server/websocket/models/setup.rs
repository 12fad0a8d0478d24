//! Sets up a model: a broker, and connections over modelled sockets.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::value::RawValue;

use super::super::connection::Connection;
use super::super::end::EndReason;
use super::super::session::Session;
use super::super::{Opening, Shared, writer};
use super::socket::{ModelSocket, Takes};
use crate::access::Principal;
use crate::broker::{Broker, Place, PublishError, ReadBatch, Topic, TopicOptions};
use crate::config::{Config, OverflowPolicy};
use crate::protocol::{Encoding, Message, Timestamp, TopicName, TransferCoding};
use crate::server::connection_info::ConnectionInfo;
use crate::server::event_stream;
use crate::server::http::cors::Cors;
use crate::server::http::head;
use crate::server::rest::EventsQuery;
use crate::server::transport::Transport;
use crate::sync::Arc;
use crate::sync::thread::{self, JoinHandle};

pub(super) const TOPIC: &str = "t";

pub(super) fn config() -> Config {
    Config {
        // Long: `Takes::NothingInTime` triggers the timeout instead.
        write_timeout: Duration::from_secs(3600),
        block_timeout: Duration::from_secs(1),
        drain_timeout: Duration::from_secs(1),
        ..Config::default()
    }
}

/// A broker with one topic.
pub(super) fn broker(config: &Config) -> Arc<Broker> {
    let broker = Arc::new(Broker::new(config));
    create(&broker, TOPIC);
    broker
}

/// A broker whose topic keeps this many events for replays and for queues.
pub(super) fn small_broker(events: usize, overflow: OverflowPolicy) -> Arc<Broker> {
    broker(&Config {
        history_size: events,
        max_queue_size: events,
        overflow,
        ..config()
    })
}

pub(super) fn create(broker: &Broker, name: &str) -> Arc<Topic> {
    let name = TopicName::new(name).expect("a name");
    let created = broker.create_here(name, &TopicOptions::default());
    created.expect("a new topic")
}

pub(super) fn topic(broker: &Broker) -> Arc<Topic> {
    broker.topic(TOPIC).expect("it was created")
}

/// Publishes and fans out, as a REST publish does.
pub(super) fn publish(topic: &Arc<Topic>) -> Option<u64> {
    let seq = append(topic);
    topic.fan_out(&mut ReadBatch::default());
    seq
}

/// Publishes without a fan-out, as a session does. Waits if there is no room.
pub(super) fn append(topic: &Arc<Topic>) -> Option<u64> {
    append_payload(topic, "1")
}

pub(super) fn append_payload(topic: &Arc<Topic>, payload: &str) -> Option<u64> {
    let payload: Box<RawValue> = serde_json::from_str(payload).expect("JSON");
    let id = "550e8400-e29b-41d4-a716-446655440000";
    let message = Message::new(id, &payload).expect("a message");
    let mut place: Option<Place> = None;
    loop {
        let ticket = place.as_ref().map(Place::ticket);
        match topic.try_publish(&message, Timestamp::EARLIEST, ticket) {
            Ok(published) => return Some(published.seq),
            Err(PublishError::Full { event_bytes }) => {
                let mut batch = ReadBatch::default();
                topic.fan_out(&mut batch);
                let place = place.get_or_insert_with(|| topic.join_line());
                place.wait(event_bytes, &mut batch, || false).ok()?;
            }
            Err(_) => return None,
        }
    }
}

/// A thread that publishes this many events.
pub(super) fn publisher(topic: &Arc<Topic>, events: u64) -> JoinHandle<()> {
    let topic = Arc::clone(topic);
    thread::spawn(move || {
        for _ in 0..events {
            publish(&topic);
        }
    })
}

/// A connection with its writer thread. The thread that calls [`Client::ask`] is its reader.
pub(super) struct Client {
    pub(super) socket: ModelSocket,
    pub(super) connection: Arc<Connection>,
    pub(super) session: Session,
    writer: JoinHandle<()>,
}

impl Client {
    pub(super) fn connect(broker: &Arc<Broker>, id: u64, takes: Takes) -> Client {
        let socket = ModelSocket::to_a_peer(takes);
        Client::begin(broker, opening(id, socket.clone()), socket)
    }

    /// An event stream of the topic, which a request with this query opens.
    pub(super) fn stream(
        broker: &Arc<Broker>,
        id: u64,
        takes: Takes,
        coding: TransferCoding,
        query: &str,
    ) -> Client {
        let encoding = Encoding::EventStream(coding);
        let socket = ModelSocket::to_a_reader_of(encoding, takes);
        let info = Arc::new(ConnectionInfo::new(id, peer()));
        let opening = opening_with(info, socket.clone(), encoding);
        let request = format!("GET /topics/{TOPIC}/events?{query} HTTP/1.1\r\nHost: a\r\n\r\n");
        let (head, _) = head::parse(request.as_bytes()).unwrap().unwrap();
        let query = EventsQuery::read(TopicName::new(TOPIC).unwrap(), &head).unwrap();
        let head = event_stream::response_head(coding, &Cors::default());
        let everyone = Principal::Everyone;
        event_stream::subscribe(&opening.connection, coding, &head, &query, everyone, broker)
            .unwrap();
        Client::begin(broker, opening, socket)
    }

    fn begin(broker: &Arc<Broker>, opening: Opening, socket: ModelSocket) -> Client {
        let Opening { connection, work } = opening;
        connection.outbox.open();
        let writer = thread::spawn({
            let connection = Arc::clone(&connection);
            move || writer::write(&connection, &work)
        });
        Client {
            socket,
            session: session(&connection, broker),
            connection,
            writer,
        }
    }

    /// Carries out the request in a message, and flushes, as the reader does before it waits.
    pub(super) fn ask(&mut self, text: &str) {
        ask(&mut self.session, text);
    }

    pub(super) fn subscribe(&mut self, request: &str) {
        self.ask(&subscribe(TOPIC, request));
    }

    /// Ends the connection as if the peer had closed it, and waits until nothing of it is left.
    pub(super) fn close(self) {
        self.connection.end(EndReason::PeerClosed(None));
        self.leave();
    }

    /// Leaves as the reader does at the end, and joins the writer.
    pub(super) fn leave(self) {
        self.connection.outbox.reader_left();
        self.writer.join().expect("the writer does not panic");
        self.connection.end_subscriptions();
    }
}

/// The address of every peer.
pub(super) fn peer() -> SocketAddr {
    ([127, 0, 0, 1], 1).into()
}

pub(super) fn opening(id: u64, socket: ModelSocket) -> Opening {
    opening_of(Arc::new(ConnectionInfo::new(id, peer())), socket)
}

pub(super) fn opening_of(info: Arc<ConnectionInfo>, socket: ModelSocket) -> Opening {
    opening_with(info, socket, Encoding::WebSocket)
}

fn opening_with(info: Arc<ConnectionInfo>, socket: ModelSocket, encoding: Encoding) -> Opening {
    Opening::new(
        info,
        None,
        Transport::model(socket),
        encoding,
        &config(),
        &Shared::default(),
    )
}

pub(super) fn session(connection: &Arc<Connection>, broker: &Arc<Broker>) -> Session {
    Session::new(
        Arc::clone(connection),
        Arc::clone(broker),
        Principal::Everyone,
        0,
    )
}

pub(super) fn ask(session: &mut Session, text: &str) {
    session.text(text, &|| false);
    session.flush();
}

pub(super) fn subscribe(topic: &str, request: &str) -> String {
    subscribe_as(topic, "c", request)
}

pub(super) fn subscribe_as(topic: &str, client_id: &str, request: &str) -> String {
    format!(
        r#"{{"type":"subscribe","topic":"{topic}","client_id":"{client_id}","request_id":"{request}"}}"#
    )
}

/// A subscribe that watches who else is subscribed.
pub(super) fn watch(topic: &str, client_id: &str, request: &str) -> String {
    format!(
        r#"{{"type":"subscribe","topic":"{topic}","client_id":"{client_id}","presence":true,"request_id":"{request}"}}"#
    )
}

pub(super) fn resume(after_seq: u64, request: &str) -> String {
    format!(
        r#"{{"type":"subscribe","topic":"{TOPIC}","client_id":"c","after_seq":{after_seq},"request_id":"{request}"}}"#
    )
}

pub(super) fn unsubscribe(request: &str) -> String {
    format!(
        r#"{{"type":"unsubscribe","topic":"{TOPIC}","client_id":"c","request_id":"{request}"}}"#
    )
}

pub(super) fn ping(request: &str) -> String {
    format!(r#"{{"type":"ping","request_id":"{request}"}}"#)
}

pub(super) fn publish_text(request: &str) -> String {
    format!(
        r#"{{"type":"publish","topic":"{TOPIC}","message":{{"id":"550e8400-e29b-41d4-a716-446655440000","payload":1}},"request_id":"{request}"}}"#
    )
}
