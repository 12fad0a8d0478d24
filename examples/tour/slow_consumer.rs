//! The chapter of the slow consumer: one that stops reading loses events, and is told which.

use threadcast::client::{Client, Delivery, GapReason, Start, TopicOptions};

use super::Failure;
use super::visitor::Visitor;

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

    fn enter(&mut self, delivery: &Delivery) {
        match delivery {
            Delivery::Event(event) => {
                assert_eq!(event.seq(), self.next_seq());
                self.received += 1;
            }
            Delivery::Gap(gap) => {
                assert_eq!(gap.reason(), GapReason::SlowConsumer);
                assert_eq!(gap.range().map(|(from, _)| from), Some(self.next_seq()));
                self.told_as_gaps += gap.count().unwrap_or_default();
                assert_eq!(gap.range().map(|(_, to)| to + 1), Some(self.next_seq()));
            }
            other => println!("  {other:?}"),
        }
    }
}

/// A subscriber that does not read for a while neither holds up the publisher nor loses anything silently.
pub(crate) fn chapter(url: &str) -> Result<(), Failure> {
    println!("\n5. A slow consumer is told its gap");
    let client = Client::builder(url)
        .receive_buffer_bytes(32 << 10)
        .connect()?;
    let options = TopicOptions {
        max_queue_size: Some(4),
        ..TopicOptions::default()
    };
    client.create_topic_with("ticks", &options)?;
    let mut slow = Visitor::arrive("slow", &client, "ticks", Start::Now)?;

    println!("  slow does not read; {EVENTS} events of {PAYLOAD_BYTES} bytes are published:");
    let pad = "x".repeat(PAYLOAD_BYTES);
    let mut pipeline = client.pipeline("ticks", 1);
    for _ in 0..EVENTS {
        pipeline.send(&pad)?;
    }
    assert_eq!(pipeline.finish()?.published, EVENTS);

    println!("  slow reads:");
    let mut account = Account::default();
    while account.next_seq() <= EVENTS {
        account.enter(&slow.hear()?);
    }
    println!(
        "  received {} + told as gaps {} = published {EVENTS}",
        account.received, account.told_as_gaps
    );
    assert!(account.told_as_gaps > 0, "the sockets held everything");
    Ok(())
}
