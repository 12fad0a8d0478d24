//! Crowds: many connections that want nothing but the place of others.

use std::time::{Duration, Instant};

use crate::harness::{DEADLINE, HttpClient, TestServer, eventually};

/// A crowd that finds no place is told so at once, also when each of it stays.
#[test]
fn a_crowd_of_two_hundred_at_a_full_server_is_refused_within_two_seconds() {
    let server = TestServer::with(|config| config.max_connections = Some(1));
    let mut held = server.ws();
    let start = Instant::now();
    let mut crowd: Vec<_> = (0..200)
        .map(|_| HttpClient::connect(server.addr()))
        .collect();
    for (n, http) in crowd.iter_mut().enumerate() {
        // One half asks for something, the other only stays.
        if n % 2 == 0 {
            http.try_send_raw(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
        }
        http.read_reply().expect_problem(503, "UNAVAILABLE");
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(2), "it took {took:?}");
    crowd.iter_mut().for_each(HttpClient::expect_end);
    held.fence();
}

#[test]
fn a_crowd_larger_than_what_is_refused_at_once_is_told_as_well() {
    let server = TestServer::with(|config| config.max_connections = Some(1));
    let mut held = server.ws();
    let mut crowd: Vec<_> = (0..600)
        .map(|_| HttpClient::connect(server.addr()))
        .collect();
    for http in &mut crowd {
        http.read_reply().expect_problem(503, "UNAVAILABLE");
        http.expect_end();
    }
    held.fence();
}

/// A thousand heads that get a byte every second: others are answered as ever, and all of them are given up.
#[test]
fn a_thousand_slow_heads_keep_nobody_from_being_answered() {
    const CROWD: usize = 1000;
    let server = TestServer::with(|config| config.request_timeout = Duration::from_secs(3));
    let mut crowd: Vec<_> = (0..CROWD).map(|_| server.http()).collect();
    let mut head = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n".iter();
    let mut answers = Vec::new();
    let mut drip = Instant::now();
    let mut most = 0;
    eventually("each of the slow ones is given up", || {
        if Instant::now() >= drip {
            let byte = [*head.next().expect("the deadline comes first")];
            crowd.iter_mut().for_each(|http| http.try_send_raw(&byte));
            drip += Duration::from_secs(1);
        }
        let asked = Instant::now();
        let connections = server.health()["connections"].as_u64().unwrap() as usize;
        answers.push(asked.elapsed());
        most = most.max(connections);
        connections == 1
    });
    assert!(most > CROWD, "they were not all there at once: {most}");
    answers.sort_unstable();
    let (median, worst) = (answers[answers.len() / 2], answers[answers.len() - 1]);
    println!(
        "{} answers, median {median:?}, worst {worst:?}",
        answers.len()
    );
    assert!(median < Duration::from_millis(200), "median {median:?}");
    for http in &mut crowd {
        http.read_reply().expect_problem(408, "REQUEST_TIMEOUT");
    }
}

#[test]
fn connections_without_a_request_are_not_kept_for_ever() {
    let server = TestServer::with(|config| config.heartbeat = Duration::from_secs(1));
    let start = Instant::now();
    let mut crowd: Vec<_> = (0..200).map(|_| server.http()).collect();
    crowd.iter_mut().for_each(HttpClient::expect_end);
    assert!(start.elapsed() >= Duration::from_secs(2), "ended too early");
    assert!(start.elapsed() < DEADLINE, "kept too long");
}
