//! Panics in the threads of a WebSocket: the client is told 1011, and nobody else notices.

use serde_json::json;
use threadcast::config::OverflowPolicy;

use super::{assert_one_panic, await_connections};
use crate::harness::{
    Account, Dial, Sabotage, TestServer, WsClient, alone, code_of, event_seqs, eventually,
    own_threads, publish_text, seq_of,
};

/// The last words to a client whose connection failed.
fn expect_internal(client: &mut WsClient) {
    let error = client.next_json();
    assert_eq!(code_of(&error), "INTERNAL", "in {error}");
    assert_eq!(client.close_code(), Some(1011));
    client.expect_end();
}

#[test]
fn a_readers_panic_ends_its_connection_behind_all_that_it_did_before() {
    alone(
        "panics::websocket::a_readers_panic_ends_its_connection_behind_all_that_it_did_before",
        || {
            let sabotage = Sabotage::install();
            let server = TestServer::with_topic("orders");
            let (mut other, mut client) = (server.ws(), server.ws());
            other.subscribe("orders", "other");
            client.subscribe("orders", "own");
            sabotage.trap_after(2, "conn-", "published");
            let requests: Vec<String> = (1..=4)
                .map(|n| publish_text("orders", &n.to_string(), &format!("p-{n}")))
                .collect();
            client.send_texts(&requests);
            for n in 1..=2 {
                assert_eq!(seq_of(&client.expect_ack(&format!("p-{n}"))), n);
            }
            // The third is in the log and nobody was told so: its subscribers are told all the same.
            assert_eq!(event_seqs(&other.next_events(3)), [1, 2, 3]);
            client.discard_set_aside();
            assert_eq!(client.last_error_before_close(1011), "INTERNAL");
            client.expect_end();
            assert_one_panic(&server, &sabotage);
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
fn a_writers_panic_ends_its_connection_with_1011() {
    alone(
        "panics::websocket::a_writers_panic_ends_its_connection_with_1011",
        || {
            let sabotage = Sabotage::install();
            let server = narrow_server();
            let (mut slow, mut publisher) = (server.narrow_ws(), server.ws());
            let mut quick = server.ws();
            slow.subscribe("orders", "slow");
            quick.subscribe("orders", "quick");
            sabotage.trap("ws-w-", "events dropped");
            let mut account = Account::starting_after("orders", 0);
            let mut published = 0;
            // Once it reads again, its writer finds events dropped.
            while published < 400 {
                publisher.publish_padded("orders", published + 1, published + 10, 8 << 10);
                published += 10;
                account.read_until(&mut quick, published);
            }
            assert_eq!(slow.last_error_before_close(1011), "INTERNAL");
            slow.expect_end();
            assert_one_panic(&server, &sabotage);
            server.await_subscribers("orders", 1);
            publisher.publish("orders", &json!(1));
            account.read_until(&mut quick, published + 1);
            await_connections(&server, 2);
        },
    );
}

#[test]
fn a_writers_panic_in_the_middle_of_a_frame_does_not_split_it() {
    alone(
        "panics::websocket::a_writers_panic_in_the_middle_of_a_frame_does_not_split_it",
        || {
            let sabotage = Sabotage::install();
            let server = narrow_server();
            let (mut slow, mut publisher) = (server.narrow_ws(), server.ws());
            slow.subscribe("orders", "slow");
            // A part of the event is on its way when the writer is to go on.
            sabotage.trap("ws-w-", "writing");
            publisher.publish_padded("orders", 1, 1, 900_000);
            let event = slow.next_event();
            assert_eq!(event["message"]["payload"]["n"], 1);
            expect_internal(&mut slow);
            assert_one_panic(&server, &sabotage);
            server.await_subscribers("orders", 0);
            await_connections(&server, 1);
        },
    );
}

#[test]
fn a_panic_over_one_subscriber_ends_that_one_and_not_the_publisher() {
    alone(
        "panics::websocket::a_panic_over_one_subscriber_ends_that_one_and_not_the_publisher",
        || {
            let sabotage = Sabotage::install();
            let server = TestServer::with(|config| {
                config.overflow = OverflowPolicy::Disconnect;
                config.max_queue_size = 1;
                config.send_buffer_bytes = 4 << 10;
            });
            server.create_topic("orders");
            let (mut first, mut publisher) = (server.narrow_ws(), server.ws());
            first.subscribe("orders", "first");
            // It reads nothing: the publisher's own thread finds its queue full.
            sabotage.trap("conn-", "slow consumer: disconnected");
            let events = 300;
            publisher.publish_padded("orders", 1, events, 16 << 10);
            assert_eq!(first.last_error_before_close(1011), "INTERNAL");
            first.expect_end();
            assert_one_panic(&server, &sabotage);
            server.await_subscribers("orders", 0);
            assert_eq!(publisher.publish("orders", &json!(1)), events + 1);
            await_connections(&server, 1);
        },
    );
}

#[test]
fn a_panic_before_the_handshake_is_answered_leaves_no_thread_behind() {
    alone(
        "panics::websocket::a_panic_before_the_handshake_is_answered_leaves_no_thread_behind",
        || {
            let sabotage = Sabotage::install();
            let server = TestServer::with_topic("orders");
            server.ws().close();
            await_connections(&server, 0);
            let threads = own_threads();
            sabotage.trap("conn-", "websocket opened");
            let mut http = server.http();
            http.send_raw((Dial::request_fields(server.addr()) + "\r\n").as_bytes());
            assert_eq!(http.read_to_end(), "");
            assert_one_panic(&server, &sabotage);
            await_connections(&server, 0);
            eventually("its threads are gone", || own_threads() <= threads);
            assert_eq!(server.ws().publish("orders", &json!(1)), 1);
        },
    );
}

#[test]
fn a_panic_while_a_handshake_is_judged_is_answered_500() {
    alone(
        "panics::websocket::a_panic_while_a_handshake_is_judged_is_answered_500",
        || {
            let sabotage = Sabotage::install();
            let server = TestServer::start();
            sabotage.trap("conn-", "handshake");
            let mut http = server.http();
            http.send_raw((Dial::request_fields(server.addr()) + "\r\n").as_bytes());
            http.read_reply().expect_problem(500, "INTERNAL");
            http.expect_end();
            assert_one_panic(&server, &sabotage);
            await_connections(&server, 0);
            server.ws().close();
        },
    );
}

#[test]
fn a_panic_at_the_end_of_a_connection_leaves_nothing_of_it() {
    alone(
        "panics::websocket::a_panic_at_the_end_of_a_connection_leaves_nothing_of_it",
        || {
            let sabotage = Sabotage::install();
            let server = TestServer::with_topic("orders");
            let mut client = server.ws();
            client.subscribe("orders", "c");
            sabotage.trap("conn-", "websocket closed");
            client.close();
            await_connections(&server, 0);
            assert_one_panic(&server, &sabotage);
            assert_eq!(server.topic("orders")["subscribers"], 0);
        },
    );
}

fn narrow_server() -> TestServer {
    let server = TestServer::with(|config| config.send_buffer_bytes = 16 << 10);
    server.create_topic("orders");
    server
}
