//! The chapter on slow consumers: a subscriber that stops reading loses events, which are reported.

use threadcast::client::{Client, Delivery, GapReason, Start, TopicOptions};

use super::TourError;
use super::subscriber::Subscriber;

/// Number of events and payload size: together far more than the socket buffers hold.
const EVENTS: u64 = 200;
const PAYLOAD_BYTES: usize = 32 << 10;

/// The events received by or reported to a subscriber.
#[derive(Debug, Default)]
struct Account {
    received: u64,
    reported_as_gaps: u64,
}

impl Account {
    /// The next expected `seq`.
    fn next_seq(&self) -> u64 {
        self.received + self.reported_as_gaps + 1
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
                self.reported_as_gaps += gap.count().unwrap_or_default();
                assert_eq!(gap.range().map(|(_, to)| to + 1), Some(self.next_seq()));
            }
            other => println!("  {other:?}"),
        }
    }
}

/// A subscriber that does not read neither delays the publisher nor loses events silently.
pub(crate) fn chapter(url: &str) -> Result<(), TourError> {
    println!("\n5. A slow consumer gets a gap");
    let client = Client::builder(url)
        .receive_buffer_bytes(32 << 10)
        .connect()?;
    let options = TopicOptions {
        max_queue_size: Some(4),
        ..TopicOptions::default()
    };
    client.create_topic_with("ticks", &options)?;
    let mut slow = Subscriber::subscribe("slow", &client, "ticks", Start::Now)?;

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
        account.enter(&slow.recv()?);
    }
    println!(
        "  received {} + reported as gaps {} = published {EVENTS}",
        account.received, account.reported_as_gaps
    );
    assert!(
        account.reported_as_gaps > 0,
        "the socket buffers held everything"
    );
    Ok(())
}
