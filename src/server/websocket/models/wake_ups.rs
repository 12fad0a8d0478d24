//! Invariant 2: no lost wake-up. After a publish returns, each subscription has everything, or its writer is scheduled, or a
//! publisher will make another round.
//!
//! Threads: two publishers; the writer. The kernel takes parts of each send. The peer must receive everything without any
//! further publish: a lost wake-up is a deadlock.

use super::holds;
use super::peer::reached;
use super::setup::{
    Client, TOPIC, append, broker, config, create, publish, publish_text, publisher, subscribe,
    topic,
};
use super::socket::Takes;
use crate::broker::FanOut;
use crate::sync::Time;
use crate::sync::thread;

fn one_subscription() {
    let broker = broker(&config());
    let topic = topic(&broker);
    let mut client = Client::connect(&broker, 1, Takes::Some);
    client.subscribe("s");
    let publishers = [publisher(&topic, 2), publisher(&topic, 1)];
    for publisher in publishers {
        publisher.join().unwrap();
    }
    client
        .socket
        .wait_until(|received| reached(received, TOPIC) == 3);
    client.close();
}

/// More subscriptions than the channel to the writer has room for.
fn many_subscriptions() {
    const TOPICS: [&str; 3] = ["a", "b", "c"];
    let broker = broker(&config());
    let topics = TOPICS.map(|name| create(&broker, name));
    let mut client = Client::connect(&broker, 1, Takes::Some);
    for name in TOPICS {
        client.ask(&subscribe(name, name));
    }
    let publishers = topics.map(|topic| {
        thread::spawn(move || {
            publish(&topic);
        })
    });
    for publisher in publishers {
        publisher.join().unwrap();
    }
    client
        .socket
        .wait_until(|received| TOPICS.iter().all(|name| reached(received, name) == 1));
    client.close();
}

/// Two publishers at once: one may leave its fan-out to the other.
fn one_fan_out_for_two() {
    let broker = broker(&config());
    let topic = topic(&broker);
    let mut client = Client::connect(&broker, 1, Takes::Everything);
    client.subscribe("s");
    let publishers = [publisher(&topic, 1), publisher(&topic, 2)];
    append(&topic);
    topic.fan_out(&mut Default::default());
    for publisher in publishers {
        publisher.join().unwrap();
    }
    client
        .socket
        .wait_until(|received| reached(received, TOPIC) == 4);
    client.close();
}

/// Two connections publish at once, and do further work before they continue their fan-outs.
fn a_postponed_fan_out() {
    let broker = broker(&config());
    let mut client = Client::connect(&broker, 1, Takes::Everything);
    client.subscribe("s");
    let publishers = [2, 3].map(|id| {
        let mut publisher = Client::connect(&broker, id, Takes::Everything);
        thread::spawn(move || {
            publisher.session.text(&publish_text("first"), &|| false);
            publisher.session.flush_until(|| true);
            publisher.ask(&publish_text("second"));
            publisher
        })
    });
    let publishers = publishers.map(|publisher| publisher.join().unwrap());
    client
        .socket
        .wait_until(|received| reached(received, TOPIC) == 4);
    publishers.into_iter().for_each(Client::close);
    client.close();
}

/// A fan-out ends before its first round, as after a panic, while another thread publishes.
fn a_fan_out_that_ends_early() {
    let broker = broker(&config());
    let topic = topic(&broker);
    let mut client = Client::connect(&broker, 1, Takes::Everything);
    client.subscribe("s");
    let publisher = publisher(&topic, 2);
    append(&topic);
    drop(FanOut::begin(&topic));
    publisher.join().unwrap();
    client
        .socket
        .wait_until(|received| reached(received, TOPIC) == 3);
    client.close();
}

#[test]
fn a_fan_out_that_ends_early_loses_no_event() {
    holds(Time::Stands, a_fan_out_that_ends_early);
}

#[test]
fn no_wake_up_is_lost() {
    holds(Time::Stands, one_subscription);
}

#[test]
fn no_wake_up_is_lost_when_the_channel_is_full() {
    holds(Time::Stands, many_subscriptions);
}

#[test]
fn two_publishers_leave_no_event_undelivered() {
    holds(Time::Stands, one_fan_out_for_two);
}

#[test]
fn a_publisher_that_postpones_its_fan_out_loses_no_event() {
    holds(Time::Stands, a_postponed_fan_out);
}
