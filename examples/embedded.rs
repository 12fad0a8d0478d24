// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program with a server inside: it publishes without a socket, and a client reads over WebSocket.
//!
//! ```text
//! cargo run --example embedded
//! ```
//!
//! Checks what it shows; exit code 0 means that all of it held.

use std::error::Error;
use std::thread;

use serde::Serialize;
use threadcast::client::{Client, Delivery, Start};
use threadcast::{Config, PublishError, Server, TopicOptions};

/// What is published: anything that serde can write as JSON.
#[derive(Serialize)]
struct Reading {
    sensor: &'static str,
    celsius: f64,
}

const READINGS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    // Port 0 takes any free one.
    let server = Server::bind(Config {
        port: 0,
        ..Config::default()
    })?;
    let options = TopicOptions {
        history_size: Some(10),
        ..TopicOptions::default()
    };
    server.create_topic("temperatures", &options)?;

    // A page in a browser would do the same; see examples/browser.
    let client = Client::connect(&format!("ws://{}/ws", server.local_addr()))?;
    let subscription = client.subscribe("temperatures", Start::Last(0))?;

    let handle = server.handle();
    let publisher = thread::spawn(move || -> Result<(), PublishError> {
        for celsius in [20.5, 21.0, 21.5] {
            let reading = Reading {
                sensor: "hall",
                celsius,
            };
            let published = handle.publish("temperatures", &reading)?;
            println!("published {} as {}", published.seq, published.id);
        }
        Ok(())
    });
    for delivery in subscription.into_iter().take(READINGS) {
        match delivery? {
            Delivery::Event(event) => println!("received {}: {}", event.seq(), event.raw()),
            other => return Err(format!("not an event: {other:?}").into()),
        }
    }
    publisher.join().map_err(|_| "the publisher panicked")??;

    let topic = server
        .topic("temperatures")
        .ok_or("the topic has vanished")?;
    println!("{} messages, {} kept", topic.seq, topic.history_count);
    assert_eq!((topic.seq, topic.history_count), (3, READINGS));

    match server.publish("humidity", &0.4) {
        Err(error @ PublishError::UnknownTopic { .. }) => println!("not published: {error}"),
        other => return Err(format!("published to no topic: {other:?}").into()),
    }

    server.delete_topic("temperatures")?;
    assert_eq!(server.stats().topics, 0);
    let report = server.shutdown();
    println!("{} connections closed", report.connections_closed);
    Ok(())
}
