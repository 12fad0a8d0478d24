//! REST handlers that never return or take long: their client gets 503 in time, and other requests are served.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{HttpClient, LogHook, TestServer, alone, eventually};

const REQUEST_TIMEOUT: Duration = Duration::from_millis(500);
const TOPICS: usize = 10_000;

/// A server with two topics and one worker.
fn server(drain: Duration) -> TestServer {
    let server = TestServer::with(|config| {
        config.request_timeout = REQUEST_TIMEOUT;
        config.drain_timeout = drain;
        config.rest_workers = 1;
    });
    server.create_topic("a");
    server.create_topic("b");
    server
}

#[test]
fn request_with_a_stuck_handler_gets_503_and_others_are_served() {
    alone(
        "stuck_handlers::request_with_a_stuck_handler_gets_503_and_others_are_served",
        || {
            let hook = LogHook::install();
            let server = server(Duration::from_secs(1));
            let _held = hook.block_at("rest-", "topic deleted");
            let mut http = server.http();
            let began = Instant::now();
            let reply = http.delete("/topics/a");
            reply.expect_problem(503, "UNAVAILABLE");
            assert!(reply.header("Retry-After").is_some(), "{reply}");
            assert!(began.elapsed() < REQUEST_TIMEOUT * 5);
            assert!(hook.has_blocked());
            // Another worker has replaced the stuck one.
            http.get("/topics").expect(200);
            http.post("/topics/b/messages", &json!({"payload": 1}))
                .expect(201);
        },
    );
}

#[test]
fn shutdown_does_not_wait_for_a_stuck_handler() {
    alone(
        "stuck_handlers::shutdown_does_not_wait_for_a_stuck_handler",
        || {
            let drain = Duration::from_secs(1);
            let hook = LogHook::install();
            let server = TestServer::with(|config| {
                config.drain_timeout = drain;
                config.rest_workers = 1;
            });
            server.create_topic("a");
            let _held = hook.block_at("rest-", "topic deleted");
            let mut stuck = server.http();
            stuck.send_raw(b"DELETE /topics/a HTTP/1.1\r\nHost: x\r\n\r\n");
            eventually("the handler is stuck", || hook.has_blocked());
            let mut waiting = server.http();
            waiting.send_raw(b"GET /topics HTTP/1.1\r\nHost: x\r\n\r\n");
            let began = Instant::now();
            server.shutdown();
            let took = began.elapsed();
            assert!(took < drain + Duration::from_secs(1), "{took:?}");
        },
    );
}

fn create_topics(server: &TestServer) {
    let mut http = server.http();
    let post = |number: usize| {
        let body = format!(r#"{{"name":"topic-{number:06}"}}"#);
        format!(
            "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for first in (0..TOPICS).step_by(100) {
        let requests: String = (first..first + 100).map(post).collect();
        http.send_raw(requests.as_bytes());
        (0..100).for_each(|_| assert_eq!(http.read_reply().status, 201));
    }
}

/// Reads the statistics of all topics and returns how long that took.
fn read_stats(server: SocketAddr) -> Duration {
    let began = Instant::now();
    let mut http = TcpStream::connect(server).unwrap();
    let request = b"GET /stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    http.write_all(request).unwrap();
    let mut answer = Vec::new();
    http.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
    assert!(answer.len() > TOPICS * 100);
    began.elapsed()
}

/// Twelve clients request the longest list repeatedly, and one publishes.
#[test]
fn long_lists_do_not_delay_short_requests() {
    let server = TestServer::start();
    create_topics(&server);
    let alone = (0..3).map(|_| read_stats(server.addr())).min().unwrap();
    let mut http = server.http();
    let (reading, address) = (AtomicUsize::new(12), server.addr());
    let mut waits = Vec::new();
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                (0..5).for_each(|_| {
                    read_stats(address);
                });
                reading.fetch_sub(1, Ordering::SeqCst);
            });
        }
        while reading.load(Ordering::SeqCst) > 0 {
            waits.push(publish(&mut http));
        }
    });
    // The expected wait of a publish that arrives at a random moment: long waits weigh by their length.
    let weighted: f64 = waits.iter().map(|wait| wait.as_secs_f64().powi(2)).sum();
    let wait = weighted / waits.iter().map(Duration::as_secs_f64).sum::<f64>();
    println!(
        "a list takes {alone:?}; {} publishes, each of which waits {wait:.3} s",
        waits.len()
    );
    // If all workers built lists, each publish would wait for several of them.
    assert!(
        wait < alone.as_secs_f64(),
        "{wait} s, a list takes {alone:?}"
    );
}

fn publish(http: &mut HttpClient) -> Duration {
    let began = Instant::now();
    http.post("/topics/topic-000001/messages", &json!({"payload": 1}))
        .expect(201);
    began.elapsed()
}
