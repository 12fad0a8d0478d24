//! How a stream ends: deletion, shutdown, the kick, a withdrawn key, the peer; and that nothing of it stays.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    ChildServer, HttpClient, SequenceChecker, StreamClient, TestServer, await_stable, eventually,
    in_time,
};

const PATH: &str = "/topics/orders/events";

#[test]
fn a_deleted_topic_ends_the_stream_behind_its_events() {
    let server = TestServer::with_topic("orders");
    let mut streams: Vec<_> = (0..3).map(|_| server.stream("orders", "")).collect();
    streams
        .iter_mut()
        .for_each(|stream| drop(stream.expect("ack")));
    server.ws().publish_many("orders", 1, 30);
    server.delete_topic("orders");
    for mut stream in streams {
        stream.next_events(30);
        let notice = stream.expect("info");
        assert_eq!(notice.data["msg"], "topic_deleted");
        assert_eq!(notice.retry, Some(30_000));
        stream.expect_end();
    }
    server.await_metric("pubsub_disconnects_total{reason=\"topic_deleted\"}", 3);
    server
        .http()
        .get(PATH)
        .expect_problem(404, "TOPIC_NOT_FOUND");
}

#[test]
fn shutdown_sends_what_is_queued_and_a_notice() {
    let server = TestServer::with(|config| {
        config.max_queue_size = 1000;
        config.send_buffer_bytes = 4 << 10;
        config.drain_timeout = Duration::from_secs(8);
    });
    server.create_topic("orders");
    let mut stream = StreamClient::with_small_buffer(server.addr(), PATH);
    let mut idle = server.stream("orders", "");
    for stream in [&mut stream, &mut idle] {
        stream.expect("ack");
    }
    let reader = thread::spawn(move || {
        let mut checker = SequenceChecker::starting_after("orders", 0);
        let mut notices = 0;
        while let Some(event) = idle.next_block() {
            match event.name.as_str() {
                "event" => checker.take(&event.data),
                "info" => notices += 1,
                _ => {}
            }
        }
        (checker.received, notices)
    });
    server.ws().publish_padded("orders", 1, 200, 4 << 10);
    thread::scope(|scope| {
        let shutdown = scope.spawn(|| in_time("shutdown", || server.shutdown()));
        let mut checker = SequenceChecker::starting_after("orders", 0);
        let mut notice = None;
        while let Some(event) = stream.next_block() {
            match event.name.as_str() {
                "event" => checker.take(&event.data),
                "info" => notice = Some(event),
                _ => assert_eq!(event.name, "", "{event:?}"),
            }
        }
        assert_eq!((checker.received, checker.skipped), (200, 0));
        let notice = notice.expect("a notice");
        assert_eq!(
            (&notice.data["msg"], notice.retry),
            (&json!("server_shutdown"), None)
        );
        drop(stream);
        let report = shutdown.join().unwrap();
        assert_eq!(report.events_undelivered, 0, "{report:?}");
    });
    assert_eq!(reader.join().unwrap(), (200, 1));
}

#[test]
fn stalled_streams_do_not_delay_shutdown() {
    let server = TestServer::with(|config| {
        config.drain_timeout = Duration::from_millis(300);
        config.send_buffer_bytes = 4 << 10;
    });
    server.create_topic("orders");
    let streams: Vec<_> = (0..30)
        .map(|_| StreamClient::with_small_buffer(server.addr(), PATH))
        .collect();
    server.ws().publish_padded("orders", 1, 100, 4 << 10);
    let report = in_time("shutdown", || server.shutdown());
    assert!(report.events_undelivered > 0, "{report:?}");
    drop(streams);
}

fn streams_in(server: &TestServer) -> Vec<Value> {
    let list = HttpClient::connect(server.addr())
        .get("/connections")
        .expect(200);
    let lines = list["connections"].as_array().unwrap().clone();
    lines
        .into_iter()
        .filter(|line| line["protocol"] == "sse")
        .collect()
}

#[test]
fn a_stream_is_listed_and_closed_by_an_administrator() {
    let server = TestServer::with_topic("orders");
    let mut stream = server.stream("orders", "?client_id=page");
    stream.expect("ack");
    let listed = streams_in(&server);
    let [line] = &listed[..] else {
        panic!("{listed:?}")
    };
    let expected = json!([{"topic": "orders", "client_id": "page", "lag": 0, "dropped": 0}]);
    assert_eq!(line["subscriptions"], expected);
    let path = format!("/connections/{}", line["id"]);
    HttpClient::connect(server.addr()).delete(&path).expect(200);
    let said = stream.next_block().expect("a comment");
    assert_eq!(said.comment.as_deref(), Some("closed by an administrator"));
    stream.expect_end();
    drop(stream);
    eventually("it is gone from the list", || {
        streams_in(&server).is_empty()
    });
    server.await_metric("pubsub_disconnects_total{reason=\"administrator\"}", 1);
    server.await_subscribers("orders", 0);
}

#[test]
fn a_peer_that_leaves_in_any_way_ends_its_subscription() {
    let server = TestServer::with_topic("orders");
    let open = || {
        let mut stream = server.stream("orders", "");
        stream.expect("ack");
        stream
    };
    drop(open());
    server.await_subscribers("orders", 0);
    open().reset();
    server.await_subscribers("orders", 0);
    let half = open();
    half.finish_sending();
    server.await_subscribers("orders", 0);
    server.await_metric("pubsub_disconnects_total{reason=\"peer_gone\"}", 3);
    assert_eq!(server.panics(), 0);
}

#[test]
fn threads_and_descriptors_return_to_baseline_after_streams_end() {
    let server = ChildServer::start(&[]);
    let mut http = HttpClient::connect(server.addr());
    http.post("/topics", &json!({"name": "orders"})).expect(201);
    let quiet = Duration::from_millis(300);
    let threads = await_stable(quiet, || server.threads());
    let descriptors = await_stable(quiet, || server.descriptors());
    let mut streams: Vec<_> = (0..50)
        .map(|_| StreamClient::open(server.addr(), PATH))
        .collect();
    streams
        .iter_mut()
        .for_each(|stream| drop(stream.expect("ack")));
    assert_eq!(server.threads(), threads + 100, "two for each");
    for (n, stream) in streams.into_iter().enumerate() {
        match n % 2 {
            0 => stream.reset(),
            _ => drop(stream),
        }
    }
    eventually("the threads end", || server.threads() <= threads);
    eventually("the sockets are closed", || {
        server.descriptors() <= descriptors
    });
}
