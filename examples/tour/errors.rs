//! The chapter of the errors: what was wrong, in a code for programs and a sentence for people.

use threadcast::client::{Client, Error, Start};

use super::Failure;

/// An error is about one call; whatever else goes on over the same connection is not disturbed.
pub(crate) fn chapter(client: &Client) -> Result<(), Failure> {
    println!("\n6. Errors answer one request and leave the rest alone");
    let refused = [
        client.publish("nowhere", &1).map(drop),
        client.subscribe("nowhere", Start::Now).map(drop),
        client.delete_topic("nowhere"),
    ];
    for result in refused {
        assert_eq!(told(result)?.code(), Some("TOPIC_NOT_FOUND"));
    }
    let ahead = Start::After {
        seq: 1_000_000,
        epoch: None,
    };
    let result = client.subscribe("orders", ahead).map(drop);
    assert_eq!(told(result)?.code(), Some("BAD_REQUEST"));

    println!("  What cannot be right is not even sent:");
    for result in [
        client.publish("not a name", &1).map(drop),
        client.publish_with_id("orders", "7", &1).map(drop),
        Client::connect("wss://example.org/ws").map(drop),
    ] {
        assert!(matches!(told(result)?, Error::Invalid { .. }));
    }
    Ok(())
}

fn told(result: Result<(), Error>) -> Result<Error, Failure> {
    match result {
        Ok(()) => Err("this should have been an error".into()),
        Err(error) => {
            println!("  {error}");
            Ok(error)
        }
    }
}
