//! Shutdown at every point of what others do: nothing is published after it began, every WebSocket there is or is about to be is told and
//! closed, what was published is sent while time allows, every thread is joined.
//!
//! Threads: the one that stops the server; for each of two clients its connection's thread, which subscribes and publishes, and its writer; the
//! reaper.

use super::super::connection::Connection;
use super::holds;
use super::peer::{Heard, account, ack, notice, reached};
use super::site::{
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

/// Runs a server's life: two clients connect, and it is stopped meanwhile.
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

/// The life of a connection that becomes a WebSocket, as `Serving` leads it; `false` if it was too late.
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
        // As the reader does: until the peer closes its side, or the connection is given up.
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
        .filter(|socket| ack(&socket.heard(), "s").is_some());
    // A subscribe that the end overtook has no ack, and what it would have got is not sent.
    if acked.count() == stopped.upgraded {
        assert_eq!(stopped.report.events_undelivered, 0, "not all was sent");
    }
    let told = stopped.sockets.iter().filter(|socket| {
        let heard = socket.heard_whole();
        let Some(at) = notice(&heard, "server_shutdown") else {
            assert_eq!(heard, [], "not told");
            return false;
        };
        assert_eq!(heard.last(), Some(&Heard::Close(1001)), "not closed");
        assert_eq!(
            notice(&heard[at + 1..], "server_shutdown"),
            None,
            "told twice"
        );
        if let Some((begin, seq)) = ack(&heard, "s") {
            let reached = account(&heard[begin..], TOPIC, seq);
            assert_eq!(reached, stopped.published, "not all that was published");
        }
        true
    });
    assert_eq!(told.count(), stopped.upgraded);
}

/// Whatever an append under way comes to, it has come to it when the drain has begun.
fn drain() {
    let broker = broker(&config());
    let topic = topic(&broker);
    let mut client = Client::connect(&broker, 1, Takes::Everything);
    client.subscribe("s");
    let key = (topic.name().clone(), ClientId::new("c").unwrap());
    let subscription = client.connection.subscription(&key).unwrap();
    let publisher = thread::spawn(move || append(&topic));
    broker.drain();
    // What a writer asks that sends what is queued.
    let connection = &client.connection;
    let pending = || {
        let outbox = &connection.outbox;
        outbox.with_cursors(|cursors| cursors.pending(&subscription))
    };
    let pending_then = pending();
    publisher.join().unwrap();
    // Less, if its writer has sent it.
    assert!(pending() <= pending_then, "published after the drain began");
    client.close();
}

/// The peers read nothing, and every deadline comes.
fn at_the_deadline() {
    let stopped = stop(Takes::Nothing);
    for socket in &stopped.sockets {
        assert_eq!(reached(&socket.heard(), TOPIC), 0);
    }
}

#[test]
fn everything_is_told_sent_and_joined() {
    holds(Time::Stands, in_order);
}

#[test]
fn once_draining_nothing_is_published() {
    holds(Time::Stands, drain);
}

#[test]
fn nobody_who_does_not_read_holds_it_up() {
    holds(Time::Passes, at_the_deadline);
}
