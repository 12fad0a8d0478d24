//! The chapter of the slow consumer: one that stops reading loses events, and is told which.

use serde_json::{Value, json};

use super::shared::{Failure, ServerAddress};
use super::visitor::{Visitor, rest};

/// Events published, and the size of each payload: together far more than the sockets between can hold.
const EVENTS: u64 = 200;
const PAYLOAD_BYTES: usize = 32 << 10;

/// What a subscriber can account for.
#[derive(Debug, Default)]
struct Account {
    received: u64,
    told_as_gaps: u64,
}

impl Account {
    /// The number of the event that must come next.
    fn next_seq(&self) -> u64 {
        self.received + self.told_as_gaps + 1
    }

    fn enter(&mut self, frame: &Value) {
        if frame["type"] == "event" {
            assert_eq!(frame["seq"], self.next_seq());
            self.received += 1;
            return;
        }
        assert_eq!(frame["error"]["code"], "SLOW_CONSUMER");
        assert_eq!(frame["gap"]["from_seq"], self.next_seq());
        assert_eq!(frame["gap"]["reason"], "slow_consumer");
        self.told_as_gaps += frame["gap"]["count"].as_u64().unwrap_or(0);
        assert_eq!(frame["gap"]["to_seq"], self.next_seq() - 1);
    }
}

/// A subscriber that does not read for a while neither holds up the publisher nor loses anything silently.
pub(crate) fn chapter(server: &ServerAddress) -> Result<(), Failure> {
    println!("\n5. A slow consumer is told its gap");
    let created = rest(
        server,
        "POST",
        "/topics",
        Some(r#"{"name":"ticks","max_queue_size":4}"#),
    )?;
    assert_eq!(created.0, 201);
    let mut slow = Visitor::arrive("slow", server)?;
    slow.ask(r#"{"type":"subscribe","topic":"ticks","client_id":"slow"}"#)?;

    println!(
        "  slow stops reading; {EVENTS} events of {PAYLOAD_BYTES} bytes are published and acked:"
    );
    publish_all(&mut Visitor::arrive("publisher", server)?)?;

    println!("  slow reads again:");
    let account = read_all(&mut slow)?;
    println!(
        "  received {} + told as gaps {} = published {EVENTS}",
        account.received, account.told_as_gaps
    );
    assert!(account.told_as_gaps > 0, "the sockets held everything");

    let ack = slow.ask(r#"{"type":"unsubscribe","topic":"ticks","client_id":"slow"}"#)?;
    assert_eq!((&ack["type"], &ack["seq"]), (&json!("ack"), &json!(EVENTS)));
    Ok(())
}

fn publish_all(publisher: &mut Visitor) -> Result<(), Failure> {
    let pad = "x".repeat(PAYLOAD_BYTES);
    let frame = format!(
        r#"{{"type":"publish","topic":"ticks","message":{{"id":"550e8400-e29b-41d4-a716-446655440000","payload":"{pad}"}}}}"#
    );
    for seq in 1..EVENTS {
        publisher.say_quietly(&frame)?;
        let (ack, _) = publisher.hear_quietly()?;
        assert_eq!((&ack["type"], &ack["seq"]), (&json!("ack"), &json!(seq)));
    }
    assert_eq!(publisher.ask(&frame)?["seq"], EVENTS);
    Ok(())
}

fn read_all(slow: &mut Visitor) -> Result<Account, Failure> {
    let mut account = Account::default();
    while account.next_seq() <= EVENTS {
        let (frame, text) = slow.hear_quietly()?;
        if frame["type"] != "event" {
            println!("  slow ← {text}");
        }
        account.enter(&frame);
    }
    Ok(account)
}
