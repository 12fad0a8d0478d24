//! Lost connections: every topic goes on behind its position, and what has become of the topics is reported.

use serde_json::json;
use threadcast::client::{Client, Delivery, GapReason, PatternStart, Positions, Subscription};

use super::{expect_deleted, expect_event, expect_joined, newest, server_with};
use crate::client::proxy::Proxy;
use crate::client::reconnecting::restarted;
use crate::client::{builder, client_of, next};
use crate::harness::{TestServer, eventually};

fn expect_gap(
    subscription: &mut Subscription,
    topic: &str,
    range: Option<(u64, u64)>,
    reason: GapReason,
) {
    match next(subscription) {
        Delivery::Gap(gap) => assert_eq!(
            (gap.topic(), gap.range(), gap.reason()),
            (topic, range, reason)
        ),
        other => panic!("a gap of '{topic}' must be next, got {other:?}"),
    }
}

/// A subscription to `a*` whose connection a proxy can cut, and a client without the proxy.
fn through_a_proxy(server: &TestServer) -> (Proxy, Client, Subscription) {
    let proxy = Proxy::to(server.addr());
    let client = builder(proxy.addr()).connect().unwrap();
    let subscription = client.subscribe_pattern("a*", PatternStart::Now).unwrap();
    (proxy, client_of(server), subscription)
}

/// Cuts the connection, and does something before the client is back.
fn while_disconnected(server: &TestServer, proxy: &Proxy, act: impl FnOnce()) {
    proxy.set_down(true);
    proxy.cut_all();
    eventually("the subscription has ended", || {
        server.health()["subscribers"] == 0
    });
    act();
    proxy.set_down(false);
}

#[test]
fn every_topic_resumes_whatever_has_become_of_it() {
    let server = server_with(&["a.again", "a.gone", "a.stays"]);
    let (proxy, direct, mut subscription) = through_a_proxy(&server);
    for topic in ["a.again", "a.gone", "a.stays"] {
        expect_joined(&mut subscription, topic);
    }
    for topic in ["a.again", "a.gone", "a.stays"] {
        direct.publish(topic, &1).unwrap();
        expect_event(&mut subscription, topic, 1);
    }
    while_disconnected(&server, &proxy, || {
        server.delete_topic("a.gone");
        server.delete_topic("a.again");
        for topic in ["a.again", "a.new"] {
            server.create_topic(topic);
            direct.publish(topic, &1).unwrap();
            direct.publish(topic, &2).unwrap();
        }
        direct.publish("a.stays", &2).unwrap();
    });
    expect_deleted(&mut subscription, "a.gone");
    expect_gap(&mut subscription, "a.again", None, GapReason::EpochChanged);
    expect_event(&mut subscription, "a.again", 1);
    expect_event(&mut subscription, "a.again", 2);
    expect_joined(&mut subscription, "a.new");
    expect_event(&mut subscription, "a.new", 1);
    expect_event(&mut subscription, "a.new", 2);
    expect_event(&mut subscription, "a.stays", 2);
    assert_eq!(subscription.positions(), newest(&server));
    // Once more: the positions are those of the new epochs.
    while_disconnected(&server, &proxy, || {
        direct.publish("a.again", &3).unwrap();
    });
    expect_event(&mut subscription, "a.again", 3);
    assert_eq!(subscription.positions(), newest(&server));
}

#[test]
fn pattern_without_topics_begins_with_those_that_came_while_it_was_away() {
    let server = TestServer::start();
    let (proxy, direct, mut subscription) = through_a_proxy(&server);
    proxy.set_down(true);
    proxy.cut_all();
    server.create_topic("a1");
    direct.publish("a1", &1).unwrap();
    proxy.set_down(false);
    expect_joined(&mut subscription, "a1");
    expect_event(&mut subscription, "a1", 1);
}

#[test]
fn what_left_the_history_meanwhile_is_a_gap_of_its_topic() {
    let server = TestServer::with(|config| config.history_size = 2);
    server.create_topic("a.known");
    let (proxy, direct, mut subscription) = through_a_proxy(&server);
    expect_joined(&mut subscription, "a.known");
    direct.publish("a.known", &1).unwrap();
    expect_event(&mut subscription, "a.known", 1);
    while_disconnected(&server, &proxy, || {
        server.create_topic("a.new");
        for number in 1..=5 {
            direct.publish("a.known", &number).unwrap();
            direct.publish("a.new", &number).unwrap();
        }
    });
    let evicted = GapReason::HistoryEvicted;
    expect_gap(&mut subscription, "a.known", Some((2, 4)), evicted);
    expect_event(&mut subscription, "a.known", 5);
    expect_event(&mut subscription, "a.known", 6);
    expect_joined(&mut subscription, "a.new");
    expect_gap(&mut subscription, "a.new", Some((1, 3)), evicted);
    expect_event(&mut subscription, "a.new", 4);
    expect_event(&mut subscription, "a.new", 5);
}

#[test]
fn server_restart_deletes_the_topics_of_a_pattern() {
    let server = TestServer::with_topic("a1");
    let port = server.addr().port();
    let client = client_of(&server);
    let mut subscription = client.subscribe_pattern("a*", PatternStart::Now).unwrap();
    expect_joined(&mut subscription, "a1");
    server.shutdown();
    let server = restarted(port);
    expect_deleted(&mut subscription, "a1");
    assert_eq!(subscription.positions(), Positions::new());
    server.create_topic("a1");
    client.publish("a1", &json!("new")).unwrap();
    expect_joined(&mut subscription, "a1");
    expect_event(&mut subscription, "a1", 1);
}
