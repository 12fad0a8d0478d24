//! The chapters of the tour, in the order in which they are read.

use std::thread;

use serde_json::{Value, json};
use threadcast::Server;
use threadcast::client::{Client, EndReason, Error, GapReason, Position, Reconnect, Start};

use super::Failure;
use super::visitor::Visitor;

/// Everyone who follows `orders`.
#[derive(Debug)]
pub(crate) struct Team {
    ada: Visitor,
    bob: Visitor,
    cleo: Visitor,
}

/// A topic is created before it is used, and exists once.
pub(crate) fn topics(client: &Client) -> Result<(), Failure> {
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

/// One publish reaches every subscriber, in the same order and with the same numbers.
pub(crate) fn fan_out(client: &Client) -> Result<Team, Failure> {
    println!("\n2. One message reaches every subscriber");
    let mut team = Team {
        ada: Visitor::arrive("ada", client, "orders", Start::Now)?,
        bob: Visitor::arrive("bob", client, "orders", Start::Now)?,
        cleo: Visitor::arrive("cleo", client, "orders", Start::Now)?,
    };
    let payloads = [json!({"order": 1}), json!({"order": 2}), json!([3.5, null])];
    for (payload, seq) in payloads.iter().zip(1..) {
        let receipt = client.publish("orders", payload)?;
        println!("  → {payload}: {receipt:?}");
        assert_eq!(receipt.seq, seq);
        for subscriber in [&mut team.ada, &mut team.bob, &mut team.cleo] {
            let event = subscriber.hear_event()?;
            assert_eq!((event.seq(), event.id()), (seq, receipt.id.as_str()));
            assert_eq!(event.payload::<Value>()?, *payload);
        }
    }
    Ok(team)
}

/// Who comes late asks for the newest events first.
pub(crate) fn replay(client: &Client) -> Result<(), Failure> {
    println!("\n3. A late subscriber replays the newest two");
    let mut late = Visitor::arrive("late", client, "orders", Start::Last(2))?;
    assert_eq!(late.hear_event()?.seq(), 2);
    assert_eq!(late.hear_event()?.seq(), 3);
    Ok(())
}

/// The position of the last event brings back what was missed.
pub(crate) fn resume(client: &Client, team: Team) -> Result<Team, Failure> {
    println!("\n4. Whoever kept a position goes on behind it");
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
        assert_eq!(subscriber.hear_event()?.seq(), 4);
    }
    let mut ada = Visitor::arrive("ada", client, "orders", kept)?;
    assert_eq!(ada.hear_event()?.payload::<String>()?, "while ada is away");

    println!("  A position from another life of the topic is told as a gap:");
    let foreign = Position {
        seq: 3,
        epoch: "another".into(),
    };
    let mut stranger = Visitor::arrive("stranger", client, "orders", foreign)?;
    assert_eq!(stranger.hear_gap()?.reason(), GapReason::EpochChanged);
    for seq in 1..=4 {
        assert_eq!(stranger.hear_event()?.seq(), seq);
    }
    Ok(Team { ada, bob, cleo })
}

/// Every count follows what the connections do.
pub(crate) fn counts(client: &Client, team: Team) -> Result<(), Failure> {
    println!("\n7. The counts");
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

/// A deleted topic says so.
pub(crate) fn deletion(client: &Client) -> Result<(), Failure> {
    println!("\n8. Deleting a topic ends its subscriptions");
    let mut reader = Visitor::arrive("reader", client, "orders", Start::Now)?;
    client.delete_topic("orders")?;
    let end = reader.hear_the_end()?;
    assert!(matches!(
        end,
        Error::Ended {
            reason: EndReason::TopicDeleted,
            ..
        }
    ));
    Ok(())
}

/// A server that stops says so, and closes with 1001. Whoever may not come back learns it from the error.
pub(crate) fn shutdown(server: Server, url: &str) -> Result<(), Failure> {
    println!("\n9. Shutting down");
    let client = Client::builder(url).reconnect(Reconnect::Never).connect()?;
    let mut reader = Visitor::arrive("reader", &client, "ticks", Start::Now)?;
    let listening = thread::spawn(move || reader.hear_the_end().map_err(|f| f.to_string()));
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
