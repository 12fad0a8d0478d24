//! Shutdown at every point of concurrent work: nothing is published after the drain began, every WebSocket, also one that is
//! just being opened, gets the shutdown notice and a close frame, published events are sent until the drain timeout, and
//! every thread is joined.
//!
//! Threads: the one that stops the server; for each of two clients the connection's thread, which subscribes and publishes,
//! and its writer; the reaper.

use super::super::connection::Connection;
use super::holds;
use super::peer::{Received, ack, check_events, notice, reached};
use super::setup::{
    Client, TOPIC, append, ask, broker, config, opening_of, peer, publish_text, session,
    subscribe_as, topic,
};
use super::socket::{ModelSocket, Takes};
use crate::broker::Broker;
use crate::protocol::ClientId;
use crate::server::connection_info::ConnectionInfo;
use crate::server::connections::Connections;
use crate::server::panics::Panics;
use crate::server::transport::Transport;
use crate::server::{ShutdownReport, end_connections};
use crate::sync::thread;
use crate::sync::{Arc, AtomicUsize, Ordering, Time};

struct Stopped {
    report: ShutdownReport,
    sockets: [ModelSocket; 2],
    upgraded: usize,
    published: u64,
}

/// Starts a server, lets two clients connect, and stops it meanwhile.
fn stop(takes: Takes) -> Stopped {
    let config = config();
    let broker = broker(&config);
    let topic = topic(&broker);
    let (connections, reaper) = Connections::start(2, Panics::default(), Arc::default()).unwrap();
    let sockets = [takes; 2].map(ModelSocket::to_a_peer);
    let upgraded = Arc::new(AtomicUsize::new(0));
    for socket in sockets.clone() {
        let (broker, known) = (Arc::clone(&broker), Arc::clone(&connections));
        let upgraded = Arc::clone(&upgraded);
        let admitted =
            connections.admit(Transport::model(socket.clone()), peer(), move |info, _| {
                if serve(info, &socket, &broker, &known) {
                    upgraded.fetch_add(1, Ordering::SeqCst);
                }
            });
        assert!(admitted.is_ok());
    }
    broker.drain();
    let published = topic.stats().seq;
    let report = end_connections(&connections, config.drain_timeout, || {});
    reaper.join();
    assert_eq!(
        topic.stats().seq,
        published,
        "published after the drain began"
    );
    assert_eq!(connections.open_count().load(Ordering::SeqCst), 0);
    assert_eq!(
        (topic.subscriber_count(), broker.subscription_count()),
        (0, 0)
    );
    Stopped {
        report,
        sockets,
        upgraded: upgraded.load(Ordering::SeqCst),
        published,
    }
}

/// Runs a connection that becomes a WebSocket, as `Serving` does; `false` if it was too late for the upgrade.
fn serve(
    info: Arc<ConnectionInfo>,
    socket: &ModelSocket,
    broker: &Arc<Broker>,
    connections: &Connections,
) -> bool {
    let id = info.id;
    let opening = opening_of(info, socket.clone());
    if broker.is_draining() || !connections.upgrade(&opening.connection) {
        return false;
    }
    let read = |connection: &Arc<Connection>| {
        let mut session = session(connection, broker);
        ask(&mut session, &subscribe_as(TOPIC, &id.to_string(), "s"));
        ask(&mut session, &publish_text("p"));
        // As the reader does: until the peer closes its side, or the connection is aborted.
        socket.wait_until_closed();
        0
    };
    let connection = Arc::clone(&opening.connection);
    opening.run(|| Ok(()), read).unwrap();
    assert_eq!(connection.panics.count(), 0, "a panic was caught");
    true
}

fn in_order() {
    let stopped = stop(Takes::Some);
    let acked = stopped
        .sockets
        .iter()
        .filter(|socket| ack(&socket.received(), "s").is_some());
    // If the end came before a subscribe, there is no ack, and its events are undelivered.
    if acked.count() == stopped.upgraded {
        assert_eq!(stopped.report.events_undelivered, 0, "events were not sent");
    }
    let notified = stopped.sockets.iter().filter(|socket| {
        let received = socket.received_whole();
        let Some(at) = notice(&received, "server_shutdown") else {
            assert_eq!(received, [], "no shutdown notice");
            return false;
        };
        assert_eq!(
            received.last(),
            Some(&Received::Close(1001)),
            "no close frame"
        );
        assert_eq!(
            notice(&received[at + 1..], "server_shutdown"),
            None,
            "two shutdown notices"
        );
        if let Some((begin, seq)) = ack(&received, "s") {
            let reached = check_events(&received[begin..], TOPIC, seq);
            assert_eq!(reached, stopped.published, "published events are missing");
        }
        true
    });
    assert_eq!(notified.count(), stopped.upgraded);
}

/// `Broker::drain` waits for an append under way.
fn drain() {
    let broker = broker(&config());
    let topic = topic(&broker);
    let mut client = Client::connect(&broker, 1, Takes::Everything);
    client.subscribe("s");
    let key = (topic.name().clone(), ClientId::new("c").unwrap());
    let subscription = client.connection.subscriptions.get(&key).unwrap();
    let publisher = thread::spawn(move || append(&topic));
    broker.drain();
    // As a writer checks whether events are queued.
    let connection = &client.connection;
    let pending = || {
        let outbox = &connection.outbox;
        outbox.with_cursors(|cursors| cursors.pending(&subscription))
    };
    let pending_then = pending();
    publisher.join().unwrap();
    // It is less if the writer has sent some.
    assert!(pending() <= pending_then, "published after the drain began");
    client.close();
}

/// The peers read nothing, and every deadline passes.
fn at_the_deadline() {
    let stopped = stop(Takes::Nothing);
    for socket in &stopped.sockets {
        assert_eq!(reached(&socket.received(), TOPIC), 0);
    }
}

#[test]
fn shutdown_notifies_every_websocket_sends_all_events_and_joins_every_thread() {
    holds(Time::Stands, in_order);
}

#[test]
fn nothing_is_published_after_the_drain_began() {
    holds(Time::Stands, drain);
}

#[test]
fn peers_that_do_not_read_do_not_delay_shutdown() {
    holds(Time::Passes, at_the_deadline);
}
