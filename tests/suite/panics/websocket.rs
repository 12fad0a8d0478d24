//! Panics in the threads of a WebSocket: its client is closed with 1011, and nobody else is affected.

use serde_json::json;
use threadcast::config::OverflowPolicy;

use super::{assert_one_panic, await_connections};
use crate::harness::{
    Dial, LogHook, SequenceChecker, TestServer, WsClient, alone, code_of, event_seqs, eventually,
    own_threads, publish_text, seq_of,
};

/// The error and close frame for a client whose connection panicked.
fn expect_internal(client: &mut WsClient) {
    let error = client.next_json();
    assert_eq!(code_of(&error), "INTERNAL", "in {error}");
    assert_eq!(client.close_code(), Some(1011));
    client.expect_end();
}

#[test]
fn reader_panic_ends_its_connection_after_earlier_acks_and_events() {
    alone(
        "panics::websocket::reader_panic_ends_its_connection_after_earlier_acks_and_events",
        || {
            let hook = LogHook::install();
            let server = TestServer::with_topic("orders");
            let (mut other, mut client) = (server.ws(), server.ws());
            other.subscribe("orders", "other");
            client.subscribe("orders", "own");
            hook.panic_after(2, "conn-", "published");
            let requests: Vec<String> = (1..=4)
                .map(|n| publish_text("orders", &n.to_string(), &format!("p-{n}")))
                .collect();
            client.send_texts(&requests);
            for n in 1..=2 {
                assert_eq!(seq_of(&client.expect_ack(&format!("p-{n}"))), n);
            }
            // The third message is appended but not fanned out when the reader panics; its subscribers must still get it.
            assert_eq!(event_seqs(&other.next_events(3)), [1, 2, 3]);
            client.discard_earlier();
            assert_eq!(client.last_error_before_close(1011), "INTERNAL");
            client.expect_end();
            assert_one_panic(&server, &hook);
            drop(client);
            server.await_metric("pubsub_disconnects_total{reason=\"internal\"}", 1);
            server.await_subscribers("orders", 1);
            assert_eq!(server.health()["subscribers"], 1);
            assert_eq!(server.ws().publish("orders", &json!(1)), 4);
            assert_eq!(event_seqs(&other.next_events(1)), [4]);
            await_connections(&server, 1);
        },
    );
}

#[test]
fn writer_panic_ends_its_connection_with_1011() {
    alone(
        "panics::websocket::writer_panic_ends_its_connection_with_1011",
        || {
            let hook = LogHook::install();
            let server = small_buffer_server();
            let (mut slow, mut publisher) = (server.small_buffer_ws(), server.ws());
            let mut quick = server.ws();
            slow.subscribe("orders", "slow");
            quick.subscribe("orders", "quick");
            hook.panic_at("ws-w-", "events dropped");
            let mut checker = SequenceChecker::starting_after("orders", 0);
            let mut published = 0;
            // Once the client reads again, its writer finds that events were dropped.
            while published < 400 {
                publisher.publish_padded("orders", published + 1, published + 10, 8 << 10);
                published += 10;
                checker.read_until(&mut quick, published);
            }
            assert_eq!(slow.last_error_before_close(1011), "INTERNAL");
            slow.expect_end();
            assert_one_panic(&server, &hook);
            server.await_subscribers("orders", 1);
            publisher.publish("orders", &json!(1));
            checker.read_until(&mut quick, published + 1);
            await_connections(&server, 2);
        },
    );
}

#[test]
fn writer_panic_within_a_frame_does_not_split_the_frame() {
    alone(
        "panics::websocket::writer_panic_within_a_frame_does_not_split_the_frame",
        || {
            let hook = LogHook::install();
            let server = small_buffer_server();
            let (mut slow, mut publisher) = (server.small_buffer_ws(), server.ws());
            slow.subscribe("orders", "slow");
            // A part of the event is sent when the writer takes over.
            hook.panic_at("ws-w-", "writing");
            publisher.publish_padded("orders", 1, 1, 900_000);
            let event = slow.next_event();
            assert_eq!(event["message"]["payload"]["n"], 1);
            expect_internal(&mut slow);
            assert_one_panic(&server, &hook);
            server.await_subscribers("orders", 0);
            await_connections(&server, 1);
        },
    );
}

#[test]
fn panic_during_fan_out_to_a_subscriber_ends_that_subscriber_only() {
    alone(
        "panics::websocket::panic_during_fan_out_to_a_subscriber_ends_that_subscriber_only",
        || {
            let hook = LogHook::install();
            let server = TestServer::with(|config| {
                config.overflow = OverflowPolicy::Disconnect;
                config.max_queue_size = 1;
                config.send_buffer_bytes = 4 << 10;
            });
            server.create_topic("orders");
            let (mut first, mut publisher) = (server.small_buffer_ws(), server.ws());
            first.subscribe("orders", "first");
            // The subscriber reads nothing, so the publisher's own thread finds its queue full.
            hook.panic_at("conn-", "slow consumer: disconnected");
            let events = 300;
            publisher.publish_padded("orders", 1, events, 16 << 10);
            assert_eq!(first.last_error_before_close(1011), "INTERNAL");
            first.expect_end();
            assert_one_panic(&server, &hook);
            server.await_subscribers("orders", 0);
            assert_eq!(publisher.publish("orders", &json!(1)), events + 1);
            await_connections(&server, 1);
        },
    );
}

#[test]
fn panic_before_the_handshake_response_leaves_no_thread_behind() {
    alone(
        "panics::websocket::panic_before_the_handshake_response_leaves_no_thread_behind",
        || {
            let hook = LogHook::install();
            let server = TestServer::with_topic("orders");
            server.ws().close();
            await_connections(&server, 0);
            let threads = own_threads();
            hook.panic_at("conn-", "websocket opened");
            let mut http = server.http();
            http.send_raw((Dial::request_fields(server.addr()) + "\r\n").as_bytes());
            assert_eq!(http.read_to_end(), "");
            assert_one_panic(&server, &hook);
            await_connections(&server, 0);
            eventually("its threads are gone", || own_threads() <= threads);
            assert_eq!(server.ws().publish("orders", &json!(1)), 1);
        },
    );
}

#[test]
fn panic_during_a_handshake_check_is_answered_500() {
    alone(
        "panics::websocket::panic_during_a_handshake_check_is_answered_500",
        || {
            let hook = LogHook::install();
            let server = TestServer::start();
            hook.panic_at("conn-", "handshake");
            let mut http = server.http();
            http.send_raw((Dial::request_fields(server.addr()) + "\r\n").as_bytes());
            http.read_reply().expect_problem(500, "INTERNAL");
            http.expect_end();
            assert_one_panic(&server, &hook);
            await_connections(&server, 0);
            server.ws().close();
        },
    );
}

#[test]
fn panic_at_the_end_of_a_connection_leaves_nothing_behind() {
    alone(
        "panics::websocket::panic_at_the_end_of_a_connection_leaves_nothing_behind",
        || {
            let hook = LogHook::install();
            let server = TestServer::with_topic("orders");
            let mut client = server.ws();
            client.subscribe("orders", "c");
            hook.panic_at("conn-", "websocket closed");
            client.close();
            await_connections(&server, 0);
            assert_one_panic(&server, &hook);
            assert_eq!(server.topic("orders")["subscribers"], 0);
        },
    );
}

fn small_buffer_server() -> TestServer {
    let server = TestServer::with(|config| config.send_buffer_bytes = 16 << 10);
    server.create_topic("orders");
    server
}
