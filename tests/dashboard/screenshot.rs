//! Takes the screenshot of the dashboard for the documentation.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::harness::{OverflowPolicy, TestServer};
use crate::page::Page;

/// The file of the screenshot; unset, it is not stored.
const TARGET: &str = "DASHBOARD_SCREENSHOT";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Subscribers: name, topic, and pause in milliseconds after each event.
const SUBSCRIBERS: [(&str, &[&str], u64); 4] = [
    ("billing", &["orders", "orders.refunds"], 0),
    ("warehouse", &["orders", "shipments"], 0),
    ("ticker", &["prices.eu", "prices.us"], 0),
    ("ticker-mobile", &["prices.eu"], 60),
];

fn shop() -> TestServer {
    let server = TestServer::with(|config| {
        config.send_buffer_bytes = 4 << 10;
        config.history_size = 1000;
        config.overflow = OverflowPolicy::DropOldest;
    });
    for (topic, options) in [
        ("orders", json!({})),
        ("orders.refunds", json!({"overflow": "block"})),
        ("prices.eu", json!({"max_queue_size": 20})),
        ("prices.us", json!({"history_size": 50})),
        ("sessions", json!({"overflow": "disconnect"})),
        ("shipments", json!({})),
    ] {
        server.create_topic_with(topic, &options);
    }
    server
}

/// A subscriber that pauses after each event.
fn subscriber(
    server: &TestServer,
    client_id: &str,
    topics: &[&str],
    pause: Duration,
    stop: &AtomicBool,
) {
    let mut client = match pause.is_zero() {
        true => server.ws(),
        false => server.small_buffer_ws(),
    };
    for topic in topics {
        client.subscribe(topic, client_id);
    }
    while !stop.load(Ordering::Relaxed) {
        client.receive_within(Duration::from_millis(20));
        thread::park_timeout(pause);
    }
}

/// Publishes orders and prices until `stop` is set.
fn trade(server: &TestServer, stop: &AtomicBool) {
    let mut client = server.ws();
    for n in 1_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let order = json!({"id": 20_000 + n, "sum": (n * 37 % 900) as f64 / 10.0});
        client.publish("orders", &order);
        for price in 0..3 + (n / 8) % 6 {
            let pad = "x".repeat(400);
            client.publish("prices.eu", &json!({"n": n, "price": price, "pad": pad}));
        }
        if n % 4 == 0 {
            client.publish("shipments", &json!({"parcel": n, "state": "sent"}));
        }
        thread::park_timeout(Duration::from_millis(40));
    }
}

/// Sets the flag on drop, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn screenshot_of_a_busy_server() {
    let server = shop();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for (client_id, topics, pause_ms) in SUBSCRIBERS {
            let (server, stop) = (&server, &stop);
            let pause = Duration::from_millis(pause_ms);
            scope.spawn(move || subscriber(server, client_id, topics, pause, stop));
        }
        scope.spawn(|| trade(&server, &stop));
        let trading = Stop(&stop);
        let mut page = Page::unopened(&server);
        page.resize(1280, 840);
        page.open();
        page.await_text("#status", "live");
        page.tail("orders");
        let target = std::env::var_os(TARGET);
        // After half a minute the chart is filled.
        let wanted = if target.is_some() { 20 } else { 4 };
        for wanted in (4..=wanted).step_by(4) {
            page.await_true(&format!(
                "(document.querySelector('#in-spark .curve')?.getAttribute('d') ?? '').split('L').length >= {wanted}"
            ));
        }
        page.await_true("document.querySelectorAll('#tail-rows li').length > 25");
        page.await_true("document.querySelector('#gaps').textContent !== '0'");
        page.eval("scrollTo(0, 0)");
        let screenshot = page.screenshot();
        drop(trading);
        assert!(screenshot.starts_with(PNG));
        assert!(screenshot.len() < 200 << 10, "{} bytes", screenshot.len());
        if let Some(target) = target {
            fs::write(target, screenshot).expect("a file that can be written");
        }
        page.expect_clean();
    });
}
