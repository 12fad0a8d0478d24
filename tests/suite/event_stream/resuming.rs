//! Where a stream begins: now, in the history, behind the last id; and the gaps on the way.

use serde_json::json;

use crate::harness::{SequenceChecker, StreamClient, StreamEvent, TestServer, epoch_of, seq_of};

const PATH: &str = "/topics/orders/events";

fn seqs(events: &[StreamEvent]) -> Vec<u64> {
    events.iter().map(|event| seq_of(&event.data)).collect()
}

/// A server whose topic keeps 10 events and has had 50.
fn with_short_history() -> TestServer {
    let server = TestServer::start();
    let options = json!({"history_size": 10, "max_queue_size": 1});
    server.create_topic_with("orders", &options);
    server.ws().publish_many("orders", 1, 50);
    server
}

fn epoch(server: &TestServer) -> String {
    epoch_of(&server.topic("orders")).to_owned()
}

#[test]
fn last_n_replays_the_newest_events_and_the_ack_has_no_id_then() {
    let server = TestServer::with_topic("orders");
    server.ws().publish_many("orders", 1, 20);
    let mut stream = server.stream("orders", "?last_n=5");
    let ack = stream.expect("ack");
    assert_eq!((ack.id, seq_of(&ack.data)), (None, 20));
    server.ws().publish_many("orders", 21, 22);
    assert_eq!(seqs(&stream.next_events(7)), [16, 17, 18, 19, 20, 21, 22]);
}

#[test]
fn a_resume_from_any_event_continues_without_hole_or_double() {
    let server = TestServer::with(|config| config.history_size = 500);
    server.create_topic("orders");
    let mut checker = SequenceChecker::starting_after("orders", 0);
    let mut last_id: Option<String> = None;
    let mut publisher = server.ws();
    for round in 0..20 {
        let mut stream = match &last_id {
            None => server.stream("orders", ""),
            Some(id) => StreamClient::resume(server.addr(), PATH, id),
        };
        let ack = stream.expect("ack");
        assert_eq!(
            ack.data.get("recovered"),
            last_id.as_ref().map(|_| &json!(true))
        );
        last_id = ack.id.or(last_id);
        let first = round * 20 + 1;
        publisher.publish_many("orders", first, first + 19);
        // Fewer than were published: the others are for the next round.
        for event in stream.next_events(15 + (round % 5) as usize) {
            checker.take(&event.data);
            last_id = event.id;
        }
    }
    let mut stream = StreamClient::resume(server.addr(), PATH, &last_id.unwrap());
    stream.expect("ack");
    while checker.last() < 400 {
        checker.take(&stream.expect("event").data);
    }
    assert_eq!((checker.received, checker.skipped), (400, 0));
}

#[test]
fn replay_and_live_join_while_others_publish() {
    let server = TestServer::with(|config| {
        config.history_size = 10_000;
        config.max_queue_size = 10_000;
    });
    server.create_topic("orders");
    std::thread::scope(|scope| {
        for publisher in 0..2 {
            let mut client = server.ws();
            scope.spawn(move || {
                client.publish_many("orders", publisher * 1000, publisher * 1000 + 499)
            });
        }
        for _ in 0..10 {
            let mut stream = server.stream("orders", "?after_seq=0");
            scope.spawn(move || {
                stream.expect("ack");
                let mut checker = SequenceChecker::starting_after("orders", 0);
                while checker.last() < 1000 {
                    checker.take(&stream.next().data);
                }
                assert_eq!(checker.skipped, 0);
            });
        }
    });
}

#[test]
fn the_header_wins_over_the_query() {
    let server = TestServer::with_topic("orders");
    server.ws().publish_many("orders", 1, 5);
    let id = format!("{}:3", epoch(&server));
    for query in ["?last_n=1", "?after_seq=1&epoch=other", ""] {
        let mut stream = StreamClient::resume(server.addr(), &format!("{PATH}{query}"), &id);
        assert_eq!(stream.expect("ack").data["recovered"], true);
        assert_eq!(seqs(&stream.next_events(2)), [4, 5], "{query}");
    }
    let query = format!("?after_seq=3&epoch={}", epoch(&server));
    let mut stream = server.stream("orders", &query);
    stream.expect("ack");
    assert_eq!(seqs(&stream.next_events(2)), [4, 5]);
}

#[test]
fn events_that_left_the_history_are_a_gap_with_the_id_of_its_end() {
    let server = with_short_history();
    let id = format!("{}:7", epoch(&server));
    let mut stream = StreamClient::resume(server.addr(), PATH, &id);
    assert_eq!(stream.expect("ack").data["recovered"], false);
    let gap = stream.expect("gap");
    let expected = json!({"from_seq": 8, "to_seq": 40, "count": 33, "reason": "history_evicted"});
    assert_eq!(gap.data["gap"], expected);
    assert_eq!(gap.id, Some(format!("{}:40", epoch(&server))));
    assert_eq!(seqs(&stream.next_events(10)), (41..=50).collect::<Vec<_>>());
    // A cut directly behind the gap.
    let mut again = StreamClient::resume(server.addr(), PATH, &gap.id.unwrap());
    assert_eq!(again.expect("ack").data["recovered"], true);
    assert_eq!(seqs(&again.next_events(1)), [41]);
}

#[test]
fn a_foreign_epoch_is_a_gap_and_everything_is_replayed() {
    let server = with_short_history();
    let mut stream = StreamClient::resume(server.addr(), PATH, "0123456789abcdef:7");
    let ack = stream.expect("ack");
    assert_eq!((ack.id, &ack.data["recovered"]), (None, &json!(false)));
    let gap = stream.expect("gap");
    assert_eq!(gap.data["gap"], json!({"reason": "epoch_changed"}));
    assert_eq!(gap.id, None);
    assert_eq!(seqs(&stream.next_events(10)), (41..=50).collect::<Vec<_>>());

    server.delete_topic("orders");
    server.create_topic("orders");
    let mut stream = StreamClient::resume(server.addr(), PATH, "0123456789abcdef:7");
    let ack = stream.expect("ack");
    assert_eq!(
        ack.id,
        Some(format!("{}:0", epoch(&server))),
        "nothing is replayed"
    );
    stream.expect("gap");
}
