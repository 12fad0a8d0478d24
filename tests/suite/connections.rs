//! Connections that end normally, by an error or by a reset: nothing of them stays, and other clients are not affected.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::json;
use tungstenite::Message;

use crate::harness::{
    ChildServer, DEADLINE, Dial, Frame, HttpClient, Incoming, Opcode, SequenceChecker, TestServer,
    WsClient, await_stable, event_seqs, eventually,
};

/// How long a count must stay the same to be a baseline.
const QUIET: Duration = Duration::from_millis(300);

fn subscribed(server: &TestServer, topic: &str, count: usize) -> Vec<WsClient> {
    let mut clients: Vec<_> = (0..count).map(|_| server.ws()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.subscribe(topic, &format!("c{n}"));
    }
    clients
}

#[test]
fn disconnects_during_fan_out_do_not_affect_other_subscribers() {
    let server = TestServer::with(|config| config.max_queue_size = 1000);
    server.create_topic("orders");
    let mut staying = subscribed(&server, "orders", 5);
    let mut leaving: Vec<_> = (0..10).map(|_| server.ws()).collect();
    for (n, client) in leaving.iter_mut().enumerate() {
        client.subscribe("orders", &format!("leaving-{n}"));
    }
    thread::scope(|scope| {
        scope.spawn(|| server.ws().publish_many("orders", 1, 300));
        for (n, mut client) in leaving.into_iter().enumerate() {
            client.next_event();
            match n % 3 {
                0 => client.reset(),
                1 => client.close(),
                _ => drop(client),
            }
        }
    });
    for client in &mut staying {
        let mut checker = SequenceChecker::starting_after("orders", 0);
        checker.read_until(client, 300);
        assert_eq!(checker.skipped, 0);
    }
    server.await_subscribers("orders", 5);
}

#[test]
fn connection_lost_within_a_frame_ends_its_subscriptions() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    client.subscribe("orders", "c");
    assert_eq!(server.health()["subscribers"], 1);
    let whole = Frame::text(r#"{"type":"ping"}"#).masked();
    client.send_bytes(&whole[..whole.len() / 2]);
    drop(client);
    server.await_subscribers("orders", 0);
    assert_eq!(server.health()["subscribers"], 0);
}

#[test]
fn threads_and_descriptors_return_to_baseline_after_clients_leave() {
    let server = ChildServer::start(&[]);
    let mut http = HttpClient::connect(server.addr());
    http.post("/topics", &json!({"name": "orders"})).expect(201);
    visit(&server);
    await_idle(&server);
    let threads = await_stable(QUIET, || server.threads());
    let descriptors = await_stable(QUIET, || server.descriptors());
    for _ in 0..3 {
        visit(&server);
    }
    eventually("threads are back", || server.threads() <= threads);
    eventually("descriptors are back", || {
        server.descriptors() <= descriptors
    });
    await_idle(&server);
}

/// Connects clients of all kinds and ends each in a different way.
fn visit(server: &ChildServer) {
    let mut clients: Vec<_> = (0..24).map(|_| Dial::to(server.addr()).connect()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.subscribe("orders", &format!("c{n}"));
    }
    clients[0].publish("orders", &json!(1));
    for (n, mut client) in clients.into_iter().enumerate() {
        match n % 4 {
            0 => client.reset(),
            1 => client.close(),
            2 => client.send_frame(&Frame::with_first_byte(0xff, b"bad")),
            _ => drop(client),
        }
    }
    for path in ["/health", "/nowhere"] {
        HttpClient::connect(server.addr()).get(path);
    }
    HttpClient::connect(server.addr()).send_raw(b"GET /hea");
    drop(HttpClient::connect(server.addr()));
}

fn await_idle(server: &ChildServer) {
    eventually("no subscriptions are left", || {
        let mut http = HttpClient::connect(server.addr());
        http.get("/health").expect(200)["subscribers"] == 0
    });
}

#[test]
fn two_servers_in_one_process_are_independent() {
    let (first, second) = (
        TestServer::with_topic("orders"),
        TestServer::with_topic("orders"),
    );
    let (mut one, mut two) = (first.ws(), second.ws());
    one.subscribe("orders", "c");
    two.subscribe("orders", "c");
    assert_eq!(one.publish("orders", &json!(1)), 1);
    assert_eq!(event_seqs(&one.fence()), [1]);
    assert_eq!(two.fence().len(), 0);
    first.shutdown();
    assert_eq!(two.publish("orders", &json!(1)), 1);
    assert_eq!(event_seqs(&two.fence()), [1]);
    assert_eq!(second.health()["subscribers"], 1);
}

#[test]
fn fragmented_message_with_control_frames_between_is_one_message() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    let text =
        r#"{"type":"subscribe","topic":"orders","client_id":"é","request_id":"r"}"#.as_bytes();
    let cut = text.iter().position(|byte| *byte == 0xc3).unwrap() + 1;
    client.send_frame(&Frame::unfinished(Opcode::Text, &text[..5]));
    client.send_frame(&Frame::new(Opcode::Ping, b"between"));
    client.send_frame(&Frame::unfinished(Opcode::Continuation, &text[5..cut]));
    client.send_frame(&Frame::unfinished(Opcode::Continuation, b""));
    client.send_frame(&Frame::new(Opcode::Continuation, &text[cut..]));
    assert_eq!(
        client.receive("a pong"),
        Incoming::Pong(b"between".to_vec())
    );
    client.expect_ack("r");
}

#[test]
fn frames_are_parsed_byte_by_byte_and_all_at_once() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    let ping = Frame::text(r#"{"type":"ping","request_id":"r"}"#).masked();
    for byte in &ping {
        client.send_bytes(&[*byte]);
    }
    assert_eq!(client.next_json()["type"], "pong");
    client.send_bytes(&ping.repeat(50));
    for _ in 0..50 {
        assert_eq!(client.next_json()["request_id"], "r");
    }
}

#[test]
fn third_party_websocket_client_works() {
    let server = TestServer::with_topic("orders");
    let stream = TcpStream::connect(server.addr()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let (mut socket, _) =
        tungstenite::client(format!("ws://{}/ws", server.addr()), stream).unwrap();
    socket
        .send(Message::text(
            r#"{"type":"subscribe","topic":"orders","client_id":"c"}"#,
        ))
        .unwrap();
    assert!(
        socket
            .read()
            .unwrap()
            .to_text()
            .unwrap()
            .contains(r#""type":"ack""#)
    );
    server.ws().publish("orders", &json!({"a": 1}));
    assert!(
        socket
            .read()
            .unwrap()
            .to_text()
            .unwrap()
            .contains(r#""payload":{"a":1}"#)
    );
    socket.send(Message::Ping("hello".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("hello".into()));
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    server.await_subscribers("orders", 0);
}
