//! Shutdown with many clients that do not read.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{TestServer, WsClient};

const DRAIN: Duration = Duration::from_secs(1);
/// The time a shutdown may take beyond the drain timeout.
const MARGIN: Duration = Duration::from_secs(1);

/// Shuts down a server that has unsent events for `clients` clients that never read; returns how long it took.
fn shut_down_with(clients: usize) -> Duration {
    let server = TestServer::with(|config| {
        config.drain_timeout = DRAIN;
        config.max_queue_size = 1000;
        config.send_buffer_bytes = 4 << 10;
    });
    server.create_topic("orders");
    let stalled: Vec<WsClient> = thread::scope(|scope| {
        let connect = |half: usize| {
            let server = &server;
            move || -> Vec<WsClient> {
                (0..clients / 2)
                    .map(|n| {
                        let mut client = server.small_buffer_ws();
                        client.subscribe("orders", &format!("c-{half}-{n}"));
                        client
                    })
                    .collect()
            }
        };
        let halves = [scope.spawn(connect(0)), scope.spawn(connect(1))];
        halves
            .into_iter()
            .flat_map(|half| half.join().unwrap())
            .collect()
    });
    server.ws().publish_padded("orders", 1, 50, 4 << 10);
    let start = Instant::now();
    let report = server.shutdown();
    let took = start.elapsed();
    assert!(report.connections_closed >= clients, "{report:?}");
    assert!(report.events_undelivered > 0, "{report:?}");
    drop(stalled);
    took
}

fn assert_prompt(rounds: usize, clients: usize) {
    let times: Vec<_> = (0..rounds).map(|_| shut_down_with(clients)).collect();
    println!("{times:?}");
    let slow = times.iter().filter(|took| **took > DRAIN + MARGIN).count();
    assert_eq!(slow, 0, "of {rounds}: {times:?}");
}

#[test]
fn clients_that_never_read_do_not_delay_shutdown() {
    assert_prompt(2, 200);
}

#[test]
#[ignore = "takes most of a minute; .ci/run runs it"]
fn full_thousand_clients_that_never_read_do_not_delay_twenty_shutdowns() {
    assert_prompt(20, 1000);
}
