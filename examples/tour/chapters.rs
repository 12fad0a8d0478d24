//! The chapters of the tour, in order.

use std::thread;

use serde_json::{Value, json};
use threadcast::Server;
use threadcast::client::{Client, EndReason, Error, GapReason, Position, Reconnect, Start};

use super::TourError;
use super::subscriber::Subscriber;

/// The subscribers of `orders`.
#[derive(Debug)]
pub(crate) struct Team {
    ada: Subscriber,
    bob: Subscriber,
    cleo: Subscriber,
}

/// A topic is created before it is used, and exists once.
pub(crate) fn topics(client: &Client) -> Result<(), TourError> {
    println!("\n1. Topics are created");
    client.create_topic("orders")?;
    let again = client.create_topic("orders").err();
    assert_eq!(again.as_ref().and_then(Error::code), Some("TOPIC_EXISTS"));
    for topic in client.topics()? {
        println!("  {topic:?}");
        assert_eq!((topic.name.as_str(), topic.subscribers), ("orders", 0));
    }
    Ok(())
}

/// Every subscriber receives the events in the same order, with the same numbers.
pub(crate) fn fan_out(client: &Client) -> Result<Team, TourError> {
    println!("\n2. One message reaches every subscriber");
    let mut team = Team {
        ada: Subscriber::subscribe("ada", client, "orders", Start::Now)?,
        bob: Subscriber::subscribe("bob", client, "orders", Start::Now)?,
        cleo: Subscriber::subscribe("cleo", client, "orders", Start::Now)?,
    };
    let payloads = [json!({"order": 1}), json!({"order": 2}), json!([3.5, null])];
    for (payload, seq) in payloads.iter().zip(1..) {
        let receipt = client.publish("orders", payload)?;
        println!("  → {payload}: {receipt:?}");
        assert_eq!(receipt.seq, seq);
        for subscriber in [&mut team.ada, &mut team.bob, &mut team.cleo] {
            let event = subscriber.recv_event()?;
            assert_eq!((event.seq(), event.id()), (seq, receipt.id.as_str()));
            assert_eq!(event.payload::<Value>()?, *payload);
        }
    }
    Ok(team)
}

/// A late subscriber requests the newest events.
pub(crate) fn replay(client: &Client) -> Result<(), TourError> {
    println!("\n3. A late subscriber replays the newest two");
    let mut late = Subscriber::subscribe("late", client, "orders", Start::Last(2))?;
    assert_eq!(late.recv_event()?.seq(), 2);
    assert_eq!(late.recv_event()?.seq(), 3);
    Ok(())
}

/// A subscriber resumes after the position of its last event.
pub(crate) fn resume(client: &Client, team: Team) -> Result<Team, TourError> {
    println!("\n4. A subscriber resumes after its stored position");
    let Team {
        ada,
        mut bob,
        mut cleo,
    } = team;
    let kept = ada.subscription.position("orders");
    let kept = kept.ok_or("a subscription without a position")?;
    drop(ada);
    client.publish("orders", "while ada is away")?;
    for subscriber in [&mut bob, &mut cleo] {
        assert_eq!(subscriber.recv_event()?.seq(), 4);
    }
    let mut ada = Subscriber::subscribe("ada", client, "orders", kept)?;
    assert_eq!(ada.recv_event()?.payload::<String>()?, "while ada is away");

    println!("  A position of another epoch is reported as a gap:");
    let foreign = Position {
        seq: 3,
        epoch: "another".into(),
    };
    let mut foreign_subscriber = Subscriber::subscribe("foreign", client, "orders", foreign)?;
    assert_eq!(
        foreign_subscriber.recv_gap()?.reason(),
        GapReason::EpochChanged
    );
    for seq in 1..=4 {
        assert_eq!(foreign_subscriber.recv_event()?.seq(), seq);
    }
    Ok(Team { ada, bob, cleo })
}

/// The counters follow the connections.
pub(crate) fn counts(client: &Client, team: Team) -> Result<(), TourError> {
    println!("\n7. Counters");
    let orders = client.topic("orders")?;
    println!("  {orders:?}");
    assert_eq!((orders.seq, orders.messages), (4, 4));
    let epoch = team.ada.subscription.position("orders");
    assert_eq!(
        epoch.map(|position| position.epoch.to_string()),
        Some(orders.epoch)
    );
    let stats = client.stats()?;
    println!("  {stats:?}");
    assert_eq!(stats["orders"].subscribers, 3);
    drop(team);
    let health = client.health()?;
    println!("  {health:?}");
    assert_eq!((health.status.as_str(), health.subscribers), ("ok", 0));
    Ok(())
}

/// Deleting a topic ends its subscriptions.
pub(crate) fn deletion(client: &Client) -> Result<(), TourError> {
    println!("\n8. Deleting a topic ends its subscriptions");
    let mut reader = Subscriber::subscribe("reader", client, "orders", Start::Now)?;
    client.delete_topic("orders")?;
    let end = reader.recv_error()?;
    assert!(matches!(
        end,
        Error::Ended {
            reason: EndReason::TopicDeleted,
            ..
        }
    ));
    Ok(())
}

/// A stopping server closes with 1001, which a client without reconnect reports as an error.
pub(crate) fn shutdown(server: Server, url: &str) -> Result<(), TourError> {
    println!("\n9. Shutting down");
    let client = Client::builder(url).reconnect(Reconnect::Never).connect()?;
    let mut reader = Subscriber::subscribe("reader", &client, "ticks", Start::Now)?;
    let listening = thread::spawn(move || reader.recv_error().map_err(|f| f.to_string()));
    let report = server.shutdown();
    let end = listening.join().map_err(|_| "the reader panicked")??;
    assert!(matches!(
        end,
        Error::Lost {
            close_code: Some(1001),
            ..
        }
    ));
    assert_eq!(report.events_undelivered, 0);
    println!("  {report:?}");
    Ok(())
}
