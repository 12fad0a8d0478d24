//! The chapter on errors: a code for programs and a text for people.

use threadcast::client::{Client, Error, Start};

use super::TourError;

/// An error affects only one call, not others on the same connection.
pub(crate) fn chapter(client: &Client) -> Result<(), TourError> {
    println!("\n6. An error affects only one request");
    let refused = [
        client.publish("nowhere", &1).map(drop),
        client.subscribe("nowhere", Start::Now).map(drop),
        client.delete_topic("nowhere"),
    ];
    for result in refused {
        assert_eq!(expect_error(result)?.code(), Some("TOPIC_NOT_FOUND"));
    }
    let ahead = Start::After {
        seq: 1_000_000,
        epoch: None,
    };
    let result = client.subscribe("orders", ahead).map(drop);
    assert_eq!(expect_error(result)?.code(), Some("BAD_REQUEST"));

    println!("  Invalid arguments are not sent:");
    for result in [
        client.publish("not a name", &1).map(drop),
        client.publish_with_id("orders", "7", &1).map(drop),
        Client::connect("ftp://example.org").map(drop),
    ] {
        assert!(matches!(expect_error(result)?, Error::Invalid { .. }));
    }
    Ok(())
}

fn expect_error(result: Result<(), Error>) -> Result<Error, TourError> {
    match result {
        Ok(()) => Err("this should have been an error".into()),
        Err(error) => {
            println!("  {error}");
            Ok(error)
        }
    }
}
