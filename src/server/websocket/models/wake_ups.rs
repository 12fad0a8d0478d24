//! Invariant 2: no lost wake-up. After a publish returns, each subscription is either caught up, or has a token in its
//! writer's hands.
//!
//! Threads: two publishers, the writer; the kernel takes parts. The peer must hear everything without any further cause: a lost
//! wake-up is a deadlock.

use super::holds;
use super::peer::reached;
use super::site::{
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
    client.socket.wait_until(|heard| reached(heard, TOPIC) == 3);
    client.close();
}

/// More subscriptions than the channel to the writer holds tokens.
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
        .wait_until(|heard| TOPICS.iter().all(|name| reached(heard, name) == 1));
    client.close();
}

/// Two that publish to a topic at once: the fan-out of one may be left to the other.
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
    client.socket.wait_until(|heard| reached(heard, TOPIC) == 4);
    client.close();
}

/// Two connections that publish to a topic at once, and do more of their own before they go on with what the other left.
fn a_fan_out_put_off() {
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
    client.socket.wait_until(|heard| reached(heard, TOPIC) == 4);
    publishers.into_iter().for_each(Client::close);
    client.close();
}

/// A fan-out that ends before its first round, as a panic would end it, while another thread publishes.
fn a_fan_out_cut_short() {
    let broker = broker(&config());
    let topic = topic(&broker);
    let mut client = Client::connect(&broker, 1, Takes::Everything);
    client.subscribe("s");
    let publisher = publisher(&topic, 2);
    append(&topic);
    drop(FanOut::begin(&topic));
    publisher.join().unwrap();
    client.socket.wait_until(|heard| reached(heard, TOPIC) == 3);
    client.close();
}

#[test]
fn no_event_is_lost_with_a_fan_out_that_ends_early() {
    holds(Time::Stands, a_fan_out_cut_short);
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
fn no_event_is_left_between_two_publishers() {
    holds(Time::Stands, one_fan_out_for_two);
}

#[test]
fn no_event_is_forgotten_by_a_publisher_with_work_of_its_own() {
    holds(Time::Stands, a_fan_out_put_off);
}
