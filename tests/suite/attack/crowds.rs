//! Many connections that only occupy places.

use std::time::{Duration, Instant};

use crate::harness::{DEADLINE, HttpClient, TestServer, eventually};

/// The rejector answers at once and does not wait for clients that keep their connection open.
#[test]
fn two_hundred_connections_over_the_limit_are_refused_within_two_seconds() {
    let server = TestServer::with(|config| config.max_connections = Some(1));
    let mut held = server.ws();
    let start = Instant::now();
    let mut clients: Vec<_> = (0..200)
        .map(|_| HttpClient::connect(server.addr()))
        .collect();
    for (n, http) in clients.iter_mut().enumerate() {
        // Half of the clients send a request, the other half only stay connected.
        if n % 2 == 0 {
            http.try_send_raw(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
        }
        http.read_reply().expect_problem(503, "UNAVAILABLE");
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(2), "took {took:?}");
    clients.iter_mut().for_each(HttpClient::expect_end);
    held.fence();
}

#[test]
fn connections_beyond_the_rejector_capacity_get_503_too() {
    let server = TestServer::with(|config| config.max_connections = Some(1));
    let mut held = server.ws();
    let mut clients: Vec<_> = (0..600)
        .map(|_| HttpClient::connect(server.addr()))
        .collect();
    for http in &mut clients {
        http.read_reply().expect_problem(503, "UNAVAILABLE");
        http.expect_end();
    }
    held.fence();
}

/// A thousand request heads get one byte a second: other clients are answered without delay, and each slow one times out.
#[test]
fn thousand_slow_request_heads_do_not_delay_other_clients() {
    const CLIENTS: usize = 1000;
    let server = TestServer::with(|config| config.request_timeout = Duration::from_secs(3));
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.http()).collect();
    let mut head = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n".iter();
    let mut answers = Vec::new();
    let mut next_byte_at = Instant::now();
    let mut most = 0;
    eventually("every slow request times out", || {
        if Instant::now() >= next_byte_at {
            let byte = [*head.next().expect("the deadline passes first")];
            clients.iter_mut().for_each(|http| http.try_send_raw(&byte));
            next_byte_at += Duration::from_secs(1);
        }
        let start = Instant::now();
        let connections = server.health()["connections"].as_u64().unwrap() as usize;
        answers.push(start.elapsed());
        most = most.max(connections);
        connections == 1
    });
    assert!(most > CLIENTS, "at most {most} connections at once");
    answers.sort_unstable();
    let (median, worst) = (answers[answers.len() / 2], answers[answers.len() - 1]);
    println!(
        "{} answers, median {median:?}, worst {worst:?}",
        answers.len()
    );
    assert!(median < Duration::from_millis(200), "median {median:?}");
    for http in &mut clients {
        http.read_reply().expect_problem(408, "REQUEST_TIMEOUT");
    }
}

#[test]
fn connections_without_a_request_are_closed_after_the_request_timeout() {
    let timeout = Duration::from_secs(1);
    let server = TestServer::with(|config| {
        config.request_timeout = timeout;
        config.keep_alive = Duration::from_secs(3600);
    });
    let start = Instant::now();
    let mut clients: Vec<_> = (0..200).map(|_| server.http()).collect();
    clients.iter_mut().for_each(HttpClient::expect_end);
    assert!(start.elapsed() >= timeout, "ended too early");
    assert!(start.elapsed() < DEADLINE, "kept too long");
}
