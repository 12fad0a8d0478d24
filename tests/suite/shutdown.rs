//! Shutdown: what each client is sent, which events are still delivered, and that no client can delay it.

use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::harness::{
    Dial, HttpClient, Incoming, OverflowPolicy, Reply, SequenceChecker, TestServer, WsClient,
    alone, await_stable, code_of, eventually, in_time, own_descriptors, own_threads, publish_text,
    uuid_of,
};

const PAD_BYTES: usize = 4 << 10;

/// A server with small send buffers and this drain timeout.
fn draining_server(drain: Duration) -> TestServer {
    let server = TestServer::with(|config| {
        config.drain_timeout = drain;
        config.max_queue_size = 1000;
        config.send_buffer_bytes = 4 << 10;
    });
    server.create_topic("orders");
    server
}

fn expect_shutdown_notice(client: &mut WsClient) {
    client.next_info("server_shutdown");
    assert_eq!(client.close_code(), Some(1001));
    client.expect_end();
}

#[test]
fn every_client_is_notified_and_closed_with_1001() {
    let server = TestServer::with_topic("orders");
    let mut clients: Vec<_> = (0..5).map(|_| server.ws()).collect();
    for (n, client) in clients.iter_mut().enumerate().skip(1) {
        client.subscribe("orders", &format!("c{n}"));
    }
    let report = in_time("shutdown", || server.shutdown());
    for client in &mut clients {
        expect_shutdown_notice(client);
    }
    assert!(report.connections_closed >= 5, "{report:?}");
    assert_eq!(report.events_undelivered, 0);
}

#[test]
fn acked_events_are_delivered_before_the_shutdown_notice() {
    let server = TestServer::with(|config| config.max_queue_size = 1000);
    server.create_topic("orders");
    let mut client = server.ws();
    client.subscribe("orders", "c");
    server.ws().publish_many("orders", 1, 200);
    server.shutdown();
    SequenceChecker::starting_after("orders", 0).read_until(&mut client, 200);
    expect_shutdown_notice(&mut client);
}

#[test]
fn slow_client_gets_all_queued_events_within_drain_timeout() {
    let server = draining_server(Duration::from_secs(8));
    let mut client = server.small_buffer_subscriber("orders", "c");
    server.ws().publish_padded("orders", 1, 200, PAD_BYTES);
    let report = thread::scope(|scope| {
        let shutdown = scope.spawn(|| in_time("shutdown", || server.shutdown()));
        let mut checker = SequenceChecker::starting_after("orders", 0);
        while checker.last() < 200 {
            let message = client.next_json();
            if message["msg"] != "server_shutdown" {
                checker.take(&message);
            }
        }
        assert_eq!(checker.skipped, 0);
        assert_eq!(client.close_code(), Some(1001));
        drop(client);
        shutdown.join().unwrap()
    });
    assert_eq!(report.events_undelivered, 0, "{report:?}");
    assert!((1..=200).contains(&report.events_flushed), "{report:?}");
}

#[test]
fn stalled_clients_do_not_delay_shutdown() {
    let server = draining_server(Duration::from_millis(300));
    let mut stalled: Vec<_> = (0..30)
        .map(|n| server.small_buffer_subscriber("orders", &format!("c{n}")))
        .collect();
    let _silent = HttpClient::connect(server.addr());
    let mut half = HttpClient::connect(server.addr());
    half.send_raw(b"POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{");
    stalled[0].publish_padded("orders", 1, 100, PAD_BYTES);
    let report = in_time("shutdown", || server.shutdown());
    assert!(report.connections_closed >= 30, "{report:?}");
    assert!(report.events_undelivered > 0, "{report:?}");
}

#[test]
fn refused_clients_that_stay_connected_do_not_delay_shutdown() {
    let server = TestServer::with(|config| config.max_connections = Some(1));
    let _the_one = server.ws();
    let _refused: Vec<_> = (0..20)
        .map(|_| HttpClient::connect(server.addr()))
        .collect();
    in_time("shutdown", || server.shutdown());
}

#[test]
fn events_undelivered_to_a_stalled_client_are_counted() {
    let server = draining_server(Duration::from_millis(300));
    let mut stalled = server.small_buffer_subscriber("orders", "c");
    server.ws().publish_padded("orders", 1, 100, PAD_BYTES);
    let report = server.shutdown();
    let mut received = 0;
    while let Incoming::Text(text) = stalled.receive("an event or the end") {
        received += u64::from(text.contains(r#""type":"event""#));
    }
    assert_eq!(received + report.events_undelivered, 100, "{report:?}");
}

#[test]
fn publisher_waiting_for_a_stalled_subscriber_does_not_delay_shutdown() {
    let server = TestServer::with(|config| {
        config.overflow = OverflowPolicy::Block;
        config.block_timeout = Duration::from_secs(60);
        config.drain_timeout = Duration::from_millis(300);
        config.max_queue_size = 5;
        config.send_buffer_bytes = 4 << 10;
    });
    server.create_topic("orders");
    let _stalled = server.small_buffer_subscriber("orders", "c");
    let mut publisher = server.ws();
    let message = json!({"id": uuid_of(1), "payload": "x".repeat(PAD_BYTES)});
    let request = json!({"type": "publish", "topic": "orders", "message": message});
    for _ in 0..30 {
        publisher.send(&request);
    }
    await_stable(Duration::from_millis(100), || {
        server.topic("orders")["seq"].clone()
    });
    in_time("shutdown", || server.shutdown());
}

#[test]
fn readyz_is_503_and_requests_are_refused_while_draining() {
    let server = draining_server(Duration::from_secs(4));
    let addr = server.addr();
    let mut stalled = server.small_buffer_subscriber("orders", "c");
    server.ws().publish_padded("orders", 1, 200, PAD_BYTES);
    let mut open: Vec<_> = (0..5).map(|_| ready_connection(&server)).collect();
    thread::scope(|scope| {
        let shutdown = scope.spawn(|| in_time("shutdown", || server.shutdown()));
        let mut readyz = Reply::default();
        eventually("readyz turns 503", || {
            readyz = open[0].get("/readyz");
            readyz.status == 503
        });
        readyz.expect_problem(503, "SHUTTING_DOWN");
        assert_eq!(open[1].get("/livez").status, 200);
        let publish = open[2].post("/topics/orders/messages", &json!({"payload": 1}));
        publish.expect_problem(503, "SHUTTING_DOWN");
        let create = open[3].post("/topics", &json!({"name": "late"}));
        create.expect_problem(503, "SHUTTING_DOWN");
        assert_new_connection_refused(addr);
        expect_refusals(&mut stalled);
        shutdown.join().unwrap();
    });
    open[4].expect_end();
}

/// An HTTP connection that was answered before the drain.
fn ready_connection(server: &TestServer) -> HttpClient {
    let mut http = server.http();
    assert_eq!(http.get("/readyz").status, 200);
    http
}

/// Asserts that a new connection is refused, answered 503, or closed.
fn assert_new_connection_refused(addr: std::net::SocketAddr) {
    if let Ok(mut late) = HttpClient::try_connect(addr) {
        late.try_send_raw((Dial::request_fields(addr) + "\r\n").as_bytes());
        let reply = late.try_read_reply();
        assert!(reply.is_none_or(|reply| reply.status == 503));
    }
}

/// Asserts that a draining WebSocket refuses subscribe and publish, and still sends queued events and the close frame.
fn expect_refusals(client: &mut WsClient) {
    client.send(
        &json!({"type": "subscribe", "topic": "orders", "client_id": "late", "request_id": "s"}),
    );
    client.send_text(&publish_text("orders", "1", "p"));
    for request_id in ["s", "p"] {
        let reply = client.expect_reply(request_id);
        assert_eq!(code_of(&reply), "SHUTTING_DOWN", "{reply}");
    }
    assert_eq!(client.close_code(), Some(1001));
}

#[test]
fn nothing_listens_after_shutdown() {
    let server = TestServer::start();
    let addr = server.addr();
    let mut idle = server.http();
    idle.get("/livez");
    server.shutdown();
    idle.expect_end();
    assert!(HttpClient::try_connect(addr).is_err());
}

#[test]
fn dropped_server_shuts_down() {
    let server = TestServer::with_topic("orders");
    let addr = server.addr();
    let mut client = server.ws();
    client.subscribe("orders", "c");
    drop(server);
    expect_shutdown_notice(&mut client);
    assert!(HttpClient::try_connect(addr).is_err());
}

#[test]
fn server_leaves_no_thread_and_no_descriptor() {
    alone(
        "shutdown::server_leaves_no_thread_and_no_descriptor",
        || {
            let threads = own_threads();
            drop(TestServer::start());
            eventually("every thread is joined", || own_threads() == threads);
            let descriptors = own_descriptors();
            for explicitly in [true, false] {
                let server = draining_server(Duration::from_millis(200));
                let mut clients: Vec<_> = (0..8)
                    .map(|n| server.small_buffer_subscriber("orders", &format!("c{n}")))
                    .collect();
                clients[0].publish_padded("orders", 1, 100, PAD_BYTES);
                server.http().get("/health").expect(200);
                if explicitly {
                    server.shutdown();
                } else {
                    drop(server);
                }
                eventually("every thread is joined", || own_threads() == threads);
                drop(clients);

                assert_eq!(own_descriptors(), descriptors);
            }
        },
    );
}

#[test]
fn servers_can_be_started_and_shut_down_repeatedly() {
    for _ in 0..10 {
        let server = TestServer::with_topic("orders");
        server.ws().publish("orders", &json!(1));
        server.shutdown();
    }
}

#[test]
fn idle_connection_gets_503_from_readyz_during_shutdown() {
    let server = TestServer::start();
    let mut http = server.http();
    http.get("/readyz").expect(200);
    let stopping = std::thread::spawn(move || server.shutdown());
    let reply = loop {
        let reply = http.get("/readyz");
        if reply.status != 200 {
            break reply;
        }
    };
    reply.expect_problem(503, "SHUTTING_DOWN");
    stopping.join().unwrap();
}
