//! Many publishers and subscribers at once: nobody pays for what others do, and every book is exact.

use std::sync::Barrier;
use std::thread;

use crate::harness::{Account, Frame, OverflowPolicy, TestServer, publish_text};

const PUBLISHERS: usize = 4;

/// Publishes `each` messages from every publisher at the same moment, each publisher's in one write.
fn burst_together(server: &TestServer, topic: &str, each: usize) {
    let barrier = Barrier::new(PUBLISHERS);
    let publish = || {
        let mut publisher = server.ws();
        let frame = |n: usize| Frame::text(&publish_text(topic, "1", &n.to_string())).masked();
        let burst: Vec<u8> = (1..=each).flat_map(frame).collect();
        barrier.wait();
        publisher.send_bytes(&burst);
        publisher.expect_ack(&each.to_string());
    };
    thread::scope(|scope| {
        for _ in 0..PUBLISHERS {
            scope.spawn(publish);
        }
    });
}

#[test]
fn publishers_that_burst_together_make_no_idle_subscriber_slow() {
    let (rounds, subscribers, each) = (4, 40, 150);
    for overflow in [OverflowPolicy::DropOldest, OverflowPolicy::Disconnect] {
        let server = TestServer::with(|config| config.overflow = overflow);
        server.create_topic("orders");
        let mut clients: Vec<_> = (0..subscribers)
            .map(|n| {
                let mut client = server.ws();
                client.subscribe("orders", &format!("c{n}"));
                (client, Account::starting_after("orders", 0))
            })
            .collect();
        for round in 1..=rounds {
            burst_together(&server, "orders", each);
            for (client, account) in &mut clients {
                account.read_until(client, (round * PUBLISHERS * each) as u64);
                assert_eq!(account.told, 0, "{overflow}, round {round}");
            }
        }
    }
}
