//! `/metrics`: its format, its documentation, and exact counts.

mod counts;
mod deployed;
mod documents;
mod endings;
mod moments;
mod page;

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::harness::{OverflowPolicy, Page, TestServer};

const QUEUE: usize = 10;
const PAD_BYTES: usize = 4 << 10;

/// A server with the topic `orders` and small limits, so that subscribers become slow soon.
fn tight_server(overflow: OverflowPolicy) -> TestServer {
    let server = TestServer::with(|config| {
        config.overflow = overflow;
        config.max_queue_size = QUEUE;
        config.block_timeout = Duration::from_millis(200);
        config.send_buffer_bytes = 4 << 10;
    });
    server.create_topic("orders");
    server
}

/// The sum of the samples of a family over all labels.
fn total(page: &Page, name: &str) -> u64 {
    let samples = page.samples().filter(|sample| sample.name == name);
    samples.map(|sample| sample.value as u64).sum()
}

/// A page with every family.
fn whole_page() -> Page {
    let server = TestServer::with(|config| config.metrics_topics = 1);
    server.create_topic("orders");
    server.metrics()
}

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
