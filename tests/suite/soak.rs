//! The soak test of `examples/soak`, for a few seconds: every kind of client at once, with every history checked.

#[path = "../../examples/soak/trial/mod.rs"]
mod trial;

use std::time::Duration;

use trial::{Plan, Shape, Verdict};

/// On a busy machine no client may be slow enough to be disconnected in one trial; then another one runs.
const MAX_TRIALS: u64 = 6;

#[test]
fn every_history_is_exact_with_every_kind_of_client_at_once() {
    let mut verdicts = Vec::new();
    for seed in 1..=MAX_TRIALS {
        let verdict = trial::run(&Plan {
            duration: Duration::from_secs(3),
            publishers: 6,
            topics: 3,
            seed,
            shape: Shape::Mixed,
        })
        .unwrap();
        assert_eq!(verdict.violations, 0, "{:#?}", verdict.texts);
        verdicts.push(verdict);
        if covered_everything(&verdicts) {
            return;
        }
    }
    panic!("not everything happened: {verdicts:?}");
}

fn covered_everything(verdicts: &[Verdict]) -> bool {
    let sum = |count: fn(&Verdict) -> u64| verdicts.iter().map(count).sum::<u64>();
    sum(|verdict| verdict.published) > 1000
        && sum(|verdict| verdict.counts.received) > 1000
        && sum(|verdict| verdict.counts.reported) > 0
        && sum(|verdict| verdict.counts.resumes) > 0
        && sum(|verdict| verdict.counts.takeovers) > 0
        && sum(|verdict| verdict.counts.disconnects) > 0
        && sum(|verdict| verdict.counts.cuts) > 0
}

/// A short run of this shape; asserts that no client got anything wrong.
fn without_violations(shape: Shape, publishers: usize, topics: usize) -> Verdict {
    let verdict = trial::run(&Plan {
        duration: Duration::from_secs(3),
        publishers,
        topics,
        seed: 1,
        shape,
    })
    .unwrap();
    assert_eq!(verdict.violations, 0, "{:#?}", verdict.texts);
    verdict
}

/// More publishers than the queue of 10 holds publish at the same moment; the readers never pause.
#[test]
fn readers_that_keep_up_miss_nothing_of_many_publishers() {
    let verdict = without_violations(Shape::Crowd, 60, 3);
    assert!(verdict.published > 300, "{verdict:?}");
    assert!(verdict.counts.received > 3000, "{verdict:?}");
}

/// Connections are closed and the key is changed ten times a second, also while publishers wait under `block`.
#[test]
fn revoked_publishers_publish_nothing_afterwards() {
    let verdict = without_violations(Shape::Withdrawn, 6, 6);
    assert!(verdict.published > 1000, "{verdict:?}");
    assert!(verdict.counts.withdrawals > 5, "{verdict:?}");
}

/// Gaps, evictions and disconnects are frequent with a small budget; all must be exact, and the budget holds.
#[test]
fn every_history_is_exact_with_little_memory() {
    let verdict = without_violations(Shape::Budget, 6, 30);
    assert!(verdict.counts.reported > 0, "{verdict:?}");
}
