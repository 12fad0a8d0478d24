//! The chapters of the tour, in the order in which they are read.

use std::thread;

use serde_json::{Value, json};
use threadcast::Server;

use super::shared::{Failure, ServerAddress};
use super::visitor::{Visitor, rest};

/// Everyone who follows `orders`, and the epoch of the topic.
#[derive(Debug)]
pub(crate) struct Team {
    ada: Visitor,
    bob: Visitor,
    cleo: Visitor,
    publisher: Visitor,
    epoch: String,
}

/// A topic is created before it is used, and exists once.
pub(crate) fn topics(server: &ServerAddress) -> Result<(), Failure> {
    println!("\n1. Topics are created over REST");
    let (status, body) = rest(server, "POST", "/topics", Some(r#"{"name":"orders"}"#))?;
    assert_eq!(
        (status, body),
        (201, json!({"status": "created", "topic": "orders"}))
    );
    let (status, body) = rest(server, "POST", "/topics", Some(r#"{"name":"orders"}"#))?;
    assert_eq!(status, 409);
    assert_eq!(body["detail"], "Topic 'orders' already exists");
    let (status, body) = rest(server, "GET", "/topics", None)?;
    assert_eq!(
        (status, &body["topics"][0]["subscribers"]),
        (200, &json!(0))
    );
    Ok(())
}

/// One publish reaches every subscriber, in the same order and with the same numbers.
pub(crate) fn fan_out(server: &ServerAddress) -> Result<Team, Failure> {
    println!("\n2. One message reaches every subscriber");
    let mut ada = Visitor::arrive("ada", server)?;
    let mut bob = Visitor::arrive("bob", server)?;
    let mut cleo = Visitor::arrive("cleo", server)?;
    let ack =
        ada.ask(r#"{"type":"subscribe","topic":"orders","client_id":"ada","request_id":"r-1"}"#)?;
    assert_eq!(
        (&ack["type"], &ack["request_id"]),
        (&json!("ack"), &json!("r-1"))
    );
    bob.ask(r#"{"type":"subscribe","topic":"orders","client_id":"bob"}"#)?;
    cleo.ask(r#"{"type":"subscribe","topic":"orders","client_id":"cleo"}"#)?;

    let mut publisher = Visitor::arrive("publisher", server)?;
    for (number, payload) in [r#"{"order":1}"#, r#"{"order":2}"#, r#"[ 3.00, null ]"#]
        .iter()
        .enumerate()
    {
        let seq = publish(&mut publisher, payload)?;
        assert_eq!(seq, number as u64 + 1);
        for subscriber in [&mut ada, &mut bob, &mut cleo] {
            let event = subscriber.hear()?;
            assert_eq!(
                (&event["type"], &event["seq"]),
                (&json!("event"), &json!(seq))
            );
            assert_eq!(
                event["message"]["payload"],
                serde_json::from_str::<Value>(payload)?
            );
        }
    }
    let epoch = ack["epoch"]
        .as_str()
        .ok_or("an ack without an epoch")?
        .to_owned();
    Ok(Team {
        ada,
        bob,
        cleo,
        publisher,
        epoch,
    })
}

/// Who comes late asks for the newest events first.
pub(crate) fn replay(server: &ServerAddress) -> Result<(), Failure> {
    println!("\n3. A late subscriber replays the newest two");
    let mut late = Visitor::arrive("late", server)?;
    let ack = late.ask(r#"{"type":"subscribe","topic":"orders","client_id":"late","last_n":2}"#)?;
    assert_eq!(ack["seq"], 3);
    assert_eq!(late.hear()?["seq"], 2);
    assert_eq!(late.hear()?["seq"], 3);
    let ack = late.ask(r#"{"type":"unsubscribe","topic":"orders","client_id":"late"}"#)?;
    assert_eq!((&ack["type"], &ack["seq"]), (&json!("ack"), &json!(3)));
    Ok(())
}

/// After a cut, the position of the last event seen brings back what was missed.
pub(crate) fn resume(server: &ServerAddress, team: Team) -> Result<Team, Failure> {
    println!("\n4. A cut connection resumes where it stopped");
    let Team {
        ada,
        mut bob,
        mut cleo,
        mut publisher,
        epoch,
    } = team;
    ada.cut()?;
    publish(&mut publisher, r#""while ada is away""#)?;
    for subscriber in [&mut bob, &mut cleo] {
        assert_eq!(subscriber.hear()?["seq"], 4);
    }

    let mut ada = Visitor::arrive("ada", server)?;
    let ack = ada.ask(&format!(
        r#"{{"type":"subscribe","topic":"orders","client_id":"ada","after_seq":3,"epoch":"{epoch}"}}"#
    ))?;
    assert_eq!((&ack["recovered"], &ack["seq"]), (&json!(true), &json!(4)));
    assert_eq!(ada.hear()?["message"]["payload"], "while ada is away");

    println!("  A position from another life of the topic is told as a gap:");
    let ack = ada.ask(
        r#"{"type":"subscribe","topic":"orders","client_id":"ada","after_seq":3,"epoch":"another"}"#,
    )?;
    assert_eq!(ack["recovered"], false);
    assert_eq!(ada.hear()?["gap"], json!({"reason": "epoch_changed"}));
    for seq in 1..=4 {
        assert_eq!(ada.hear()?["seq"], seq);
    }
    Ok(Team {
        ada,
        bob,
        cleo,
        publisher,
        epoch,
    })
}

/// Every count follows at once what the connections do.
pub(crate) fn counts(server: &ServerAddress, mut team: Team) -> Result<(), Failure> {
    println!("\n7. The counts");
    let (_, body) = rest(server, "GET", "/stats", None)?;
    let orders = &body["topics"]["orders"];
    assert_eq!(
        (&orders["messages"], &orders["subscribers"]),
        (&json!(4), &json!(3))
    );
    team.cleo
        .ask(r#"{"type":"unsubscribe","topic":"orders","client_id":"cleo"}"#)?;
    let (_, body) = rest(server, "GET", "/topics/orders", None)?;
    assert_eq!((&body["seq"], &body["subscribers"]), (&json!(4), &json!(2)));
    assert_eq!(body["epoch"], team.epoch.as_str());
    team.ada
        .ask(r#"{"type":"unsubscribe","topic":"orders","client_id":"ada"}"#)?;
    team.bob
        .ask(r#"{"type":"unsubscribe","topic":"orders","client_id":"bob"}"#)?;
    let (_, body) = rest(server, "GET", "/health", None)?;
    assert_eq!(
        (&body["status"], &body["subscribers"]),
        (&json!("ok"), &json!(0))
    );
    Ok(())
}

/// A deleted topic says so; its subscriptions are over, the connection is not.
pub(crate) fn deletion(server: &ServerAddress) -> Result<Visitor, Failure> {
    println!("\n8. Deleting a topic ends its subscriptions");
    let mut reader = Visitor::arrive("reader", server)?;
    reader.ask(r#"{"type":"subscribe","topic":"orders","client_id":"reader"}"#)?;
    let (status, _) = rest(server, "DELETE", "/topics/orders", None)?;
    assert_eq!(status, 200);
    assert_eq!(reader.hear()?["msg"], "topic_deleted");
    assert_eq!(reader.ask(r#"{"type":"ping"}"#)?["type"], "pong");
    Ok(reader)
}

/// A server that stops says so, and closes with 1001.
pub(crate) fn shutdown(server: Server, reader: Visitor) -> Result<(), Failure> {
    println!("\n9. Shutting down");
    let listening = thread::spawn(move || reader.hear_out().map_err(|failure| failure.to_string()));
    let report = server.shutdown();
    let (heard, code) = listening.join().map_err(|_| "the reader panicked")??;
    assert_eq!(
        heard.last().map(|frame| &frame["msg"]),
        Some(&json!("server_shutdown"))
    );
    assert_eq!(code, 1001);
    assert_eq!(report.events_undelivered, 0);
    println!("  {report:?}");
    Ok(())
}

fn publish(publisher: &mut Visitor, payload: &str) -> Result<u64, Failure> {
    let ack = publisher.ask(&format!(
        r#"{{"type":"publish","topic":"orders","message":{{"id":"550e8400-e29b-41d4-a716-446655440000","payload":{payload}}}}}"#
    ))?;
    Ok(ack["seq"].as_u64().ok_or("a publish ack without a seq")?)
}
