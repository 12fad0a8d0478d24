//! Subscriptions that hear who else is subscribed.

use std::collections::{BTreeMap, BTreeSet};

use threadcast::client::{
    Delivery, PatternStart, Presence, PresenceChange, Start, Subscriber, Subscription, TopicChange,
};

use super::proxy::Proxy;
use super::{builder, client_of, next, next_event, url};
use crate::harness::{TestServer, eventually};

fn server_with(topics: &[&str]) -> TestServer {
    let server = TestServer::start();
    topics.iter().for_each(|topic| server.create_topic(topic));
    server
}

fn watching(subscriber: Subscriber) -> Subscription {
    let subscriber = subscriber.client_id("watcher").presence(true);
    subscriber.open().unwrap()
}

fn next_presence(subscription: &mut Subscription) -> Presence {
    match next(subscription) {
        Delivery::Presence(presence) => presence,
        other => panic!("expected presence, got {other:?}"),
    }
}

/// The next delivery, which must be a list.
fn next_list(subscription: &mut Subscription) -> Vec<String> {
    let presence = next_presence(subscription);
    match presence.change() {
        PresenceChange::List(names) => {
            assert_eq!(presence.total(), names.len() as u64);
            names.clone()
        }
        other => panic!("expected a list, got {other:?}"),
    }
}

/// Receives until exactly these are subscribed; the rest must be changes.
fn await_only(
    subscription: &mut Subscription,
    subscribers: &mut BTreeSet<String>,
    expected: &[&str],
) {
    let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
    while *subscribers != expected {
        let presence = next_presence(subscription);
        assert!(matches!(presence.change(), PresenceChange::Changes { .. }));
        presence.apply_to(subscribers);
        assert_eq!(presence.total(), subscribers.len() as u64);
    }
}

#[test]
fn list_comes_first_and_then_who_came_and_left() {
    let server = TestServer::with_topic("t");
    let client = client_of(&server);
    client.publish("t", &1).unwrap();
    let mut other = server.ws();
    other.subscribe("t", "here before");
    let mut watcher = watching(client.subscriber().topic("t", Start::Last(1)));
    let names = next_list(&mut watcher);
    assert_eq!(names, ["here before", "watcher"]);
    // The replay and the position are as without presence.
    assert_eq!(next_event(&mut watcher), (1, "1".to_owned()));
    assert_eq!(watcher.position("t").unwrap().seq, 1);
    let mut subscribers = names.into_iter().collect();
    other.subscribe("t", "later");
    await_only(
        &mut watcher,
        &mut subscribers,
        &["here before", "later", "watcher"],
    );
    other.close();
    await_only(&mut watcher, &mut subscribers, &["watcher"]);
    client.publish("t", &2).unwrap();
    assert_eq!(next_event(&mut watcher), (2, "2".to_owned()));
}

#[test]
fn cut_connection_gets_a_fresh_list_and_resumes() {
    let server = TestServer::with_topic("t");
    let direct = client_of(&server);
    let proxy = Proxy::to(server.addr());
    let through_the_proxy = builder(proxy.addr()).connect().unwrap();
    let mut leaver = server.ws();
    leaver.subscribe("t", "leaver");
    let mut watcher = watching(through_the_proxy.subscriber().topic("t", Start::Now));
    assert_eq!(next_list(&mut watcher), ["leaver", "watcher"]);
    let position = watcher.position("t");
    proxy.set_down(true);
    proxy.cut_all();
    leaver.close();
    eventually("all have left", || server.health()["subscribers"] == 0);
    let mut comer = server.ws();
    comer.subscribe("t", "comer");
    direct.publish("t", &1).unwrap();
    proxy.set_down(false);
    assert_eq!(next_list(&mut watcher), ["comer", "watcher"]);
    assert_eq!(watcher.position("t"), position, "the list does not move it");
    assert_eq!(next_event(&mut watcher), (1, "1".to_owned()));
    let mut subscribers = BTreeSet::from(["comer".to_owned(), "watcher".to_owned()]);
    comer.close();
    await_only(&mut watcher, &mut subscribers, &["watcher"]);
}

#[test]
fn each_topic_has_a_list_of_its_own() {
    let server = server_with(&["a", "b"]);
    let subscriber = client_of(&server).subscriber();
    let mut watcher = watching(subscriber.topic("a", Start::Now).topic("b", Start::Now));
    let mut subscribers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut other = server.ws();
    other.subscribe("b", "other");
    let expected = BTreeMap::from([("a", vec!["watcher"]), ("b", vec!["other", "watcher"])]);
    while subscribers
        .iter()
        .map(|(topic, names)| (topic.as_str(), names.iter().map(String::as_str).collect()))
        .collect::<BTreeMap<_, Vec<_>>>()
        != expected
    {
        let presence = next_presence(&mut watcher);
        let of_topic = subscribers.entry(presence.topic().to_owned());
        presence.apply_to(of_topic.or_default());
    }
    // Nothing more is heard of a topic that was unsubscribed from.
    watcher.unsubscribe("b").unwrap();
    other.unsubscribe("b", "other");
    other.subscribe("a", "other");
    let presence = next_presence(&mut watcher);
    assert_eq!((presence.topic(), presence.total()), ("a", 2));
}

#[test]
fn pattern_hears_of_each_topic_behind_its_joining() {
    let server = server_with(&["a.1"]);
    let proxy = Proxy::to(server.addr());
    let client = builder(proxy.addr()).connect().unwrap();
    let mut watcher = watching(client.subscriber().pattern("a.*", PatternStart::Now));
    let expect_joined = |watcher: &mut Subscription, name: &str| match next(watcher) {
        Delivery::Topic(TopicChange::Joined { topic, .. }) => assert_eq!(topic, name),
        other => panic!("'{name}' must join, got {other:?}"),
    };
    expect_joined(&mut watcher, "a.1");
    assert_eq!(next_list(&mut watcher), ["watcher"]);
    server.create_topic("a.2");
    expect_joined(&mut watcher, "a.2");
    let presence = next_presence(&mut watcher);
    assert_eq!((presence.topic(), presence.total()), ("a.2", 1));
    let mut subscribers = BTreeSet::from(["watcher".to_owned()]);
    let mut other = server.ws();
    other.subscribe("a.2", "other");
    await_only(&mut watcher, &mut subscribers, &["other", "watcher"]);

    // The connection is cut: each topic has a new list, and goes on.
    let positions = watcher.positions();
    proxy.set_down(true);
    proxy.cut_all();
    eventually("it has left", || server.health()["subscribers"] == 1);
    client_of(&server).publish("a.1", &1).unwrap();
    proxy.set_down(false);
    assert_eq!(next_list(&mut watcher), ["watcher"]);
    assert_eq!(watcher.positions(), positions, "the list does not move it");
    assert_eq!(next_event(&mut watcher), (1, "1".to_owned()));
    let presence = next_presence(&mut watcher);
    assert_eq!((presence.topic(), presence.total()), ("a.2", 2));
    assert!(matches!(presence.change(), PresenceChange::List(_)));
}

#[test]
fn subscription_without_the_option_hears_nothing_of_it() {
    let server = TestServer::with_topic("t");
    let client = client_of(&server);
    let subscriber = || client.subscriber().topic("t", Start::Now);
    let mut plain = subscriber().presence(true).presence(false).open().unwrap();
    let mut watcher = watching(subscriber());
    let mut subscribers = next_list(&mut watcher).into_iter().collect();
    let mut other = server.ws();
    other.subscribe("t", "other");
    let expected = [plain.client_id(), "other", "watcher"].map(str::to_owned);
    await_only(
        &mut watcher,
        &mut subscribers,
        &expected.each_ref().map(String::as_str),
    );
    client.publish("t", &1).unwrap();
    assert_eq!(next_event(&mut plain), (1, "1".to_owned()));
}

#[test]
fn another_server_sends_its_list_too() {
    // Two proxies before one server are like two servers of a cluster.
    let server = TestServer::with_topic("t");
    let proxies = [Proxy::to(server.addr()), Proxy::to(server.addr())];
    let client = builder(proxies[0].addr()).also(&url(proxies[1].addr()));
    let client = client.connect().unwrap();
    let mut watcher = watching(client.subscriber().topic("t", Start::Now));
    assert_eq!(next_list(&mut watcher), ["watcher"]);
    proxies[0].set_down(true);
    proxies[0].cut_all();
    assert_eq!(next_list(&mut watcher), ["watcher"]);
    assert_eq!(watcher.server(), proxies[1].addr().to_string());
    let mut other = server.ws();
    other.subscribe("t", "other");
    let mut subscribers = BTreeSet::from(["watcher".to_owned()]);
    await_only(&mut watcher, &mut subscribers, &["other", "watcher"]);
}
