//! Servers and networks that neither work nor fail: every call of the client ends.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use threadcast::client::{Client, Delivery, Error, Reconnect, Start};

use super::hostile::{ACK, FakeServer, frame};
use super::{builder, client_of, next, next_event, url};
use crate::harness::{TestServer, in_time};

const EVENT: &str = r#"{"type":"event","topic":"t","message":{"id":"i","payload":"a long one"},"seq":6,"ts":"2026-01-01T00:00:00.000000Z"}"#;

fn retrying_client(fake: &FakeServer, policy: Reconnect) -> Client {
    Client::builder(&url(fake.addr()))
        .request_timeout(Duration::from_millis(300))
        .reconnect(policy)
        .reconnect_pauses(Duration::from_millis(1), Duration::from_millis(10))
        .connect()
        .unwrap()
}

fn read_on(mut stream: TcpStream) {
    while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {}
}

/// Acks on the first connection and closes it; `later` gets the following connections.
fn acks_once(later: impl Fn(TcpStream) + Send + Sync + 'static) -> FakeServer {
    let connections = AtomicU64::new(0);
    FakeServer::new(move |mut stream| {
        if connections.fetch_add(1, Ordering::SeqCst) > 0 {
            return later(stream);
        }
        let _request = stream.read(&mut [0; 1024]);
        let _gone = stream.write_all(&frame(ACK));
    })
}

#[test]
fn connections_without_an_answer_count_as_failed_attempts() {
    let fake = acks_once(drop);
    let client = retrying_client(&fake, Reconnect::For(Duration::from_millis(200)));
    let mut subscription = client.subscribe("t", Start::Now).unwrap();
    let error = in_time("giving up", || subscription.recv()).unwrap_err();
    assert!(
        matches!(error, Error::Lost { .. } | Error::Connect { .. }),
        "{error:?}"
    );
    assert!(subscription.is_over());
}

#[test]
fn unanswered_subscribe_after_a_reconnect_times_out() {
    let fake = acks_once(read_on);
    let client = retrying_client(&fake, Reconnect::For(Duration::from_millis(200)));
    let mut subscription = client.subscribe("t", Start::Now).unwrap();
    let error = in_time("giving up", || subscription.recv()).unwrap_err();
    assert!(
        matches!(error, Error::Timeout { what: "ack", .. }),
        "{error:?}"
    );
}

#[test]
fn slowly_arriving_event_keeps_the_connection_alive() {
    let fake = FakeServer::new(|mut stream| {
        let _gone = stream.write_all(&frame(ACK));
        for chunk in frame(EVENT).chunks(12) {
            thread::park_timeout(Duration::from_millis(100));
            let _gone = stream.write_all(chunk);
        }
        read_on(stream);
    });
    let client = Client::builder(&url(fake.addr()))
        .heartbeat(Duration::from_millis(250))
        .reconnect(Reconnect::Never)
        .connect()
        .unwrap();
    let mut subscription = client.subscribe("t", Start::Now).unwrap();
    assert_eq!(next_event(&mut subscription).0, 6);
}

#[test]
fn frames_without_a_delivery_do_not_extend_the_timeout() {
    for noise in [
        vec![0x8a, 0],
        vec![0x89, 0],
        frame(r#"{"type":"info","msg":"news"}"#),
    ] {
        let fake = FakeServer::new(move |mut stream| {
            let _gone = stream.write_all(&frame(ACK));
            let many = noise.repeat(1000);
            while stream.write_all(&many).is_ok() {}
        });
        let client = retrying_client(&fake, Reconnect::Never);
        let mut subscription = client.subscribe("t", Start::Now).unwrap();
        let before = Instant::now();
        let nothing = subscription.recv_timeout(Duration::from_millis(100));
        assert!(matches!(nothing, Ok(None)), "{nothing:?}");
        assert!(before.elapsed() < Duration::from_secs(2));
    }
}

#[test]
fn missing_topic_fails_open_even_after_long_replays() {
    let server = TestServer::start();
    let client = client_of(&server);
    for topic in ["a", "b", "c", "d"] {
        client.create_topic(topic).unwrap();
        let mut pipeline = client.pipeline(topic, 100);
        for number in 0..100 {
            pipeline.send(&number).unwrap();
        }
        pipeline.finish().unwrap();
    }
    let mut subscriber = client.subscriber();
    for topic in ["a", "b", "c", "d", "misspelt"] {
        subscriber = subscriber.topic(topic, Start::Last(100));
    }
    let error = subscriber.open().unwrap_err();
    assert_eq!(error.code(), Some("TOPIC_NOT_FOUND"));
}

#[test]
fn delayed_subscribe_of_its_own_does_not_end_a_subscription() {
    let server = TestServer::with_topic("orders");
    let client = client_of(&server);
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    client.publish("orders", &1).unwrap();
    assert_eq!(next_event(&mut subscription).0, 1);
    // A request that was in flight on an abandoned connection.
    server.ws().subscribe("orders", subscription.client_id());
    client.publish("orders", &2).unwrap();
    client.publish("orders", &3).unwrap();
    assert_eq!(next_event(&mut subscription).0, 2);
    assert_eq!(next_event(&mut subscription).0, 3);
    client.publish("orders", &4).unwrap();
    assert!(matches!(next(&mut subscription), Delivery::Event(event) if event.seq() == 4));
}

#[test]
fn maximum_durations_act_as_no_limit() {
    let server = TestServer::with_topic("orders");
    let client = Client::builder(&url(server.addr()))
        .connect_timeout(Duration::MAX)
        .request_timeout(Duration::MAX)
        .heartbeat(Duration::MAX)
        .reconnect(Reconnect::For(Duration::MAX))
        .reconnect_pauses(Duration::MAX, Duration::MAX)
        .connect()
        .unwrap();
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    assert_eq!(client.publish("orders", &1).unwrap().seq, 1);
    let delivery = subscription.recv_timeout(Duration::MAX).unwrap();
    assert!(matches!(delivery, Some(Delivery::Event(_))));
}

#[test]
fn rest_request_with_a_lost_response_is_reported_as_unknown() {
    let server = TestServer::start();
    let (listener, upstream) = (TcpListener::bind("127.0.0.1:0").unwrap(), server.addr());
    let addr = listener.local_addr().unwrap();
    // Forwards one request and its response, then one request.
    let lossy = thread::spawn(move || {
        for (end, is_answered) in [("\r\n\r\n", true), ("}", false)] {
            let (mut client, _) = listener.accept().unwrap();
            let mut upstream = TcpStream::connect(upstream).unwrap();
            let (mut request, mut byte) = (Vec::new(), [0]);
            while !request.ends_with(end.as_bytes()) {
                client.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            upstream.write_all(&request).unwrap();
            let mut answer = [0; 4096];
            let length = upstream.read(&mut answer).unwrap();
            if is_answered {
                client.write_all(&answer[..length]).unwrap();
            }
        }
    });
    let client = builder(addr).connect().unwrap();
    let error = client.create_topic("orders").unwrap_err();
    lossy.join().unwrap();
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
    assert!(
        error.to_string().contains("may or may not have processed"),
        "{error}"
    );
    assert_eq!(server.health()["topics"], 1, "the request was processed");
}
