//! Subscriptions that hear who else is subscribed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Audience, MAX_NAMES, StreamClient, TestServer, WsClient, eventually, names};

/// How long the server collects changes into one notice.
const ROUND: Duration = Duration::from_millis(250);

fn subscribe_text(client_id: &str) -> String {
    json!({"type": "subscribe", "topic": "t", "client_id": client_id}).to_string()
}

fn server() -> TestServer {
    let server = TestServer::start();
    server.create_topic("t");
    server
}

/// A client that watches, what it has heard, and another client that it has heard of.
fn watcher_and_other(server: &TestServer) -> (WsClient, Audience, WsClient) {
    let mut watcher = server.ws();
    let mut audience = Audience::begin(&mut watcher, "t", "w");
    let mut other = server.ws();
    other.subscribe("t", "s");
    audience.await_only(&mut watcher, "t", &["s", "w"]);
    (watcher, audience, other)
}

#[test]
fn the_list_comes_behind_the_ack_with_the_subscriber_itself() {
    let server = server();
    let mut others = server.ws();
    for client_id in ["s3", "s1", "ü \"2\""] {
        others.subscribe("t", client_id);
    }
    others.publish_many("t", 1, 3);
    let mut client = server.ws();
    let fields = json!({"presence": true, "last_n": 2});
    assert_eq!(client.subscribe_with("t", "s2", &fields)["seq"], 3);
    let list = client.next_info("presence");
    assert_eq!(list["total"], 4);
    assert_eq!(names(&list["subscribers"]), ["s1", "s2", "s3", "ü \"2\""]);
    assert_eq!(client.next_event()["seq"], 2);
    assert_eq!(client.next_event()["seq"], 3);
}

#[test]
fn a_resume_gets_the_list_before_the_gap() {
    let server = TestServer::with(|config| config.history_size = 1);
    server.create_topic("t");
    let mut client = server.ws();
    client.publish_many("t", 1, 3);
    let fields = json!({"presence": true, "after_seq": 0});
    assert_eq!(client.subscribe_with("t", "s", &fields)["recovered"], false);
    assert_eq!(client.next_info("presence")["total"], 1);
    assert_eq!(client.next_info("gap")["gap"]["reason"], "history_evicted");
    assert_eq!(client.next_event()["seq"], 3);
}

#[test]
fn changes_within_a_round_are_one_notice() {
    let server = server();
    let mut watcher = server.ws();
    let mut audience = Audience::begin(&mut watcher, "t", "w");
    let began = Instant::now();
    let mut others: Vec<_> = (0..20).map(|_| server.ws()).collect();
    let ids: Vec<String> = (0..20).map(|n| format!("s{n}")).collect();
    for (other, client_id) in others.iter_mut().zip(&ids) {
        other.subscribe("t", client_id);
    }
    let mut all: Vec<&str> = ids.iter().map(String::as_str).collect();
    all.push("w");
    audience.await_only(&mut watcher, "t", &all);
    others.truncate(5);
    all.truncate(5);
    all.push("w");
    audience.await_only(&mut watcher, "t", &all);
    let rounds = began.elapsed().as_millis() / ROUND.as_millis();
    assert!(
        audience.notices as u128 <= rounds + 2,
        "{} notices in {rounds} rounds",
        audience.notices
    );
}

#[test]
fn who_leaves_and_comes_back_within_a_round_is_in_no_notice() {
    let server = server();
    let (mut watcher, mut audience, mut other) = watcher_and_other(&server);
    let notices = audience.notices;
    let leave = r#"{"type":"unsubscribe","topic":"t","client_id":"s"}"#.to_owned();
    let [back, marker] = ["s", "marker"].map(subscribe_text);
    other.send_texts(&[leave.clone(), back.clone(), leave, back, marker]);
    audience.await_only(&mut watcher, "t", &["marker", "s", "w"]);
    assert_eq!(audience.notices, notices + 1);
}

#[test]
fn a_takeover_is_no_change_and_moves_the_watcher() {
    let server = server();
    let mut older = server.ws();
    let mut audience = Audience::begin(&mut older, "t", "w");
    let mut newer = server.ws();
    let mut taken = Audience::begin(&mut newer, "t", "w");
    assert_eq!(taken.present.len(), 1);
    older.next_info("subscription_replaced");
    let mut other = server.ws();
    other.subscribe("t", "s");
    taken.await_only(&mut newer, "t", &["s", "w"]);
    assert_eq!(taken.notices, 2, "the takeover is in a notice");
    assert!(older.fence().is_empty(), "the older one still hears of it");
    // Taken back without presence: nobody watches any more.
    older.subscribe("t", "w");
    newer.next_info("subscription_replaced");
    other.unsubscribe("t", "s");
    audience.present.clear();
    let mut last = server.ws();
    assert_eq!(Audience::begin(&mut last, "t", "x").present.len(), 2);
    other.subscribe("t", "s");
    last.next_info("presence");
    assert!(older.fence().is_empty() && newer.fence().is_empty());
}

#[test]
fn a_connection_that_is_cut_or_kicked_leaves_at_once() {
    let server = server();
    let mut watcher = server.ws();
    let mut audience = Audience::begin(&mut watcher, "t", "w");
    let mut cut = server.ws();
    cut.subscribe("t", "cut");
    let mut stream = StreamClient::open(server.addr(), "/topics/t/events?client_id=stream");
    stream.expect("ack");
    audience.await_only(&mut watcher, "t", &["cut", "stream", "w"]);
    drop(cut);
    audience.await_only(&mut watcher, "t", &["stream", "w"]);
    let connections = server.http().get("/connections").expect(200);
    let streams = connections["connections"].as_array().unwrap().iter();
    let stream_id = streams
        .filter(|connection| connection["protocol"] == "sse")
        .map(|connection| connection["id"].clone())
        .next()
        .expect("the stream");
    server
        .http()
        .delete(&format!("/connections/{stream_id}"))
        .expect(200);
    audience.await_only(&mut watcher, "t", &["w"]);
}

#[test]
fn a_topic_that_is_created_again_has_a_list_of_its_own() {
    let server = server();
    let (mut watcher, _, mut other) = watcher_and_other(&server);
    server.http().delete("/topics/t").expect(200);
    watcher.next_info("topic_deleted");
    server.create_topic("t");
    other.subscribe("t", "s2");
    let mut again = Audience::begin(&mut watcher, "t", "w");
    assert_eq!(again.present.len(), 2);
    other.subscribe("t", "s3");
    again.await_only(&mut watcher, "t", &["s2", "s3", "w"]);
}

#[test]
fn a_pattern_hears_of_each_topic() {
    let server = TestServer::start();
    server.create_topic("shop.eu");
    let mut other = server.ws();
    other.subscribe("shop.eu", "s");
    let mut watcher = server.ws();
    let ack = watcher.subscribe_with("shop.*", "w", &json!({"presence": true}));
    assert_eq!(ack["matched"], 1);
    let mut eu = Audience::default();
    watcher.next_info("subscribed");
    eu.apply(&watcher.next_info("presence"), "shop.eu");
    assert_eq!(eu.present.len(), 2);
    server.create_topic("shop.us");
    let mut us = Audience::default();
    watcher.next_info("subscribed");
    us.apply(&watcher.next_info("presence"), "shop.us");
    assert_eq!(us.present.len(), 1);
    other.subscribe("shop.us", "s");
    us.await_only(&mut watcher, "shop.us", &["s", "w"]);
    other.unsubscribe("shop.eu", "s");
    eu.await_only(&mut watcher, "shop.eu", &["w"]);
    watcher.unsubscribe("shop.*", "w");
    other.subscribe("shop.eu", "s");
    let mut last = server.ws();
    let mut third = Audience::begin(&mut last, "shop.eu", "x");
    other.unsubscribe("shop.eu", "s");
    third.await_only(&mut last, "shop.eu", &["x"]);
    assert!(watcher.fence().is_empty(), "it still watches");
}

#[test]
fn presence_is_true_or_false() {
    let server = server();
    let mut client = server.ws();
    for wrong in [json!(1), json!("true"), json!([]), json!({})] {
        for topic in ["t", "t*"] {
            let fields = json!({"presence": wrong});
            let error = client.subscribe_refused(topic, &fields, "BAD_REQUEST");
            assert_eq!(error["error"]["message"], "presence must be true or false");
        }
    }
    for off in [json!(false), json!(null)] {
        client.subscribe_with("t", "s", &json!({"presence": off}));
        assert!(client.fence().is_empty());
    }
    // Asked for again without it, the same subscription does not watch any more.
    Audience::begin(&mut client, "t", "s");
    client.subscribe("t", "s");
    let mut other = server.ws();
    let mut audience = Audience::begin(&mut other, "t", "o");
    other.subscribe("t", "x");
    audience.await_only(&mut other, "t", &["o", "s", "x"]);
    assert!(client.fence().is_empty());
}

/// Its socket takes nothing while hundreds come and go: it gets fewer notices than others, and the right list in the end.
#[test]
fn a_slow_reader_gets_fewer_notices() {
    let server = TestServer::with(|config| config.send_buffer_bytes = 4 << 10);
    server.create_topic("t");
    let mut quick = server.ws();
    let mut seen = Audience::begin(&mut quick, "t", "quick");
    let mut slow = server.small_buffer_ws();
    let mut heard = Audience::begin(&mut slow, "t", "slow");
    let pad = "x".repeat(110);
    let ids: Vec<String> = (0..200).map(|n| format!("{n}-{pad}")).collect();
    let mut crowd: Vec<_> = (0..4).map(|_| server.ws()).collect();
    // Everybody leaves and comes in turn, until the reader that is quick has had many notices.
    while seen.notices < 30 {
        for (n, client_id) in ids.iter().enumerate() {
            let member = &mut crowd[n % 4];
            match seen.present.contains(client_id) {
                true => drop(member.unsubscribe("t", client_id)),
                false => drop(member.subscribe("t", client_id)),
            }
        }
        seen.apply(&quick.next_info("presence"), "t");
        while seen.present.len() != 2 && seen.present.len() != 202 {
            seen.apply(&quick.next_info("presence"), "t");
        }
    }
    let mut last = server.ws();
    last.subscribe("t", "last");
    while !seen.present.contains("last") {
        seen.apply(&quick.next_info("presence"), "t");
    }
    while !heard.present.contains("last") {
        heard.apply(&slow.next_info("presence"), "t");
    }
    assert_eq!(heard.present, seen.present);
    assert!(
        heard.notices < seen.notices / 2,
        "{} notices, and {} for a quick reader",
        heard.notices,
        seen.notices
    );
}

#[test]
fn lists_have_at_most_a_thousand_names_and_count_all() {
    const SUBSCRIBERS: usize = 2_500;
    let server = TestServer::with(|config| config.max_subscriptions = SUBSCRIBERS);
    server.create_topic("t");
    let mut watcher = server.ws();
    let mut audience = Audience::begin(&mut watcher, "t", "w");
    let mut crowd = server.ws();
    let ids: Vec<String> = (0..SUBSCRIBERS).map(|n| format!("s{n:04}")).collect();
    let requests: Vec<String> = ids.iter().map(|id| subscribe_text(id)).collect();
    let mut expected: Vec<&str> = ids.iter().map(String::as_str).collect();
    expected.push("w");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for some in requests.chunks(250) {
                crowd.send_texts(some);
                crowd.fence();
            }
        });
        audience.await_only(&mut watcher, "t", &expected);
    });
    let mut late = server.ws();
    late.subscribe_with("t", "a", &json!({"presence": true}));
    let list = late.next_info("presence");
    assert_eq!(list["total"], SUBSCRIBERS + 2);
    let first = names(&list["subscribers"]);
    assert_eq!(first.len(), MAX_NAMES);
    assert_eq!((first[0].as_str(), first[1].as_str()), ("a", "s0000"));
    // All leave at once: the notices take 1000 each, and the last one has the right total.
    crowd.close();
    let mut left = BTreeSet::new();
    let mut total = 0;
    while left.len() < SUBSCRIBERS {
        let notice = late.next_info("presence");
        let some = names(&notice["left"]);
        assert!(some.len() <= MAX_NAMES);
        left.extend(some);
        total = notice["total"].as_u64().unwrap();
    }
    assert_eq!(total, 2);
}

/// Neither a topic nor a server keeps anything of watchers that have gone.
#[test]
fn nothing_is_left_of_watchers() {
    let server = server();
    let baseline = server.health();
    for n in 0..5 {
        let (watcher, _, other) = watcher_and_other(&server);
        server.await_metric("pubsub_presence_watchers", 1);
        // Of the list, and of what has changed.
        server.await_metric("pubsub_presence_notices_total", 2 * (n + 1));
        watcher.close();
        other.close();
        let what = format!("round {n} is over");
        eventually(&what, || server.health()["subscribers"] == 0);
    }
    server.await_metric("pubsub_presence_watchers", 0);
    assert_eq!(server.health()["topics"], baseline["topics"]);
}
