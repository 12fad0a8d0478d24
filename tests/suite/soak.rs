//! The soak test of `examples/soak`, for a few seconds: every kind of client at once, and every history checked.

#[path = "../../examples/soak/trial/mod.rs"]
mod trial;

use std::time::Duration;

use trial::Plan;

#[test]
fn every_history_is_exact_with_every_kind_of_client_at_once() {
    let verdict = trial::run(&Plan {
        duration: Duration::from_secs(3),
        publishers: 6,
        topics: 3,
        seed: 1,
        history_size: 500,
        max_queue_size: 1000,
    })
    .unwrap();
    assert_eq!(verdict.violations, 0, "{:#?}", verdict.texts);
    let tally = verdict.tally;
    assert!(verdict.published > 1000, "{verdict:?}");
    assert!(tally.received > 1000 && tally.told > 0, "{tally:?}");
    assert!(tally.resumes > 0 && tally.takeovers > 0, "{tally:?}");
    assert!(tally.disconnects > 0 && tally.cuts > 0, "{tally:?}");
}
