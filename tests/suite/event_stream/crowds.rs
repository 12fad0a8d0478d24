//! Many streams at once, beside WebSockets.

use serde_json::json;

use crate::harness::{ChildServer, HttpClient, SequenceChecker, StreamClient, TestServer, alone};

const PATH: &str = "/topics/orders/events";

#[test]
fn streams_and_websockets_see_the_same_order() {
    let server = TestServer::with(|config| config.max_queue_size = 10_000);
    server.create_topic("orders");
    let mut streams: Vec<_> = (0..10).map(|_| server.stream("orders", "")).collect();
    let mut websockets: Vec<_> = (0..10).map(|_| server.ws()).collect();
    for (n, websocket) in websockets.iter_mut().enumerate() {
        websocket.subscribe("orders", &format!("ws-{n}"));
    }
    let mut old: Vec<_> = (0..3)
        .map(|_| StreamClient::open_http10(server.addr(), PATH))
        .collect();
    streams.append(&mut old);
    streams
        .iter_mut()
        .for_each(|stream| drop(stream.expect("ack")));
    std::thread::scope(|scope| {
        for publisher in 0..4 {
            let mut client = server.ws();
            let first = publisher * 1000;
            scope.spawn(move || client.publish_many("orders", first, first + 249));
        }
    });
    let mut orders = Vec::new();
    for stream in &mut streams {
        let mut checker = SequenceChecker::starting_after("orders", 0);
        stream
            .next_events(1000)
            .iter()
            .for_each(|event| checker.take(&event.data));
        assert_eq!(checker.skipped, 0);
        orders.push(checker.ids().to_vec());
    }
    for websocket in &mut websockets {
        let mut checker = SequenceChecker::starting_after("orders", 0);
        checker.read_until(websocket, 1000);
        orders.push(checker.ids().to_vec());
    }
    assert!(orders.iter().all(|order| *order == orders[0]));
    server.await_metric("pubsub_event_streams_opened_total", 13);
}

const CROWD: usize = 2000;

#[test]
fn two_thousand_streams_at_once_hear_every_event() {
    let test = "event_stream::crowds::two_thousand_streams_at_once_hear_every_event";
    alone(test, hear_every_event);
}

fn hear_every_event() {
    let server = ChildServer::start(&[]);
    let mut http = HttpClient::connect(server.addr());
    http.post("/topics", &json!({"name": "orders"})).expect(201);
    let mut streams: Vec<_> = (0..CROWD)
        .map(|_| StreamClient::open(server.addr(), PATH))
        .collect();
    let topic = http.get("/topics/orders").expect(200);
    assert_eq!(topic["subscribers"], CROWD);
    for n in 1..=3 {
        http.post("/topics/orders/messages", &json!({"payload": n}))
            .expect(201);
    }
    for stream in &mut streams {
        stream.expect("ack");
        stream.next_events(3);
    }
}
