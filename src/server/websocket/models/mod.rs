//! Models of the invariants in ARCHITECTURE.md: they run the shipped code under many schedules of its threads.
//!
//! Each file states what must hold, which threads run, and what is asserted. For each model `tests/mutations/` has patches
//! with mistakes that it must find. See `docs/verification.md`.
//!
//! [`setup`] makes a broker with connections; [`socket`] models the kernel, [`peer`] the client behind it ([`decoder`]: of an event stream). Every model also
//! checks the lock order, that no socket is used under a topic's lock, and that no thread waits for a peer under any lock.

#![allow(clippy::unwrap_used)]

mod acks;
mod blocking;
mod closing;
mod completeness;
mod crowd;
mod event_streams;
mod expiry;
mod frames;
mod idempotency;
mod mirrors;
mod patterns;
mod presence;
mod recreate;
mod replies;
mod shutdown;
mod takeover;
mod wake_ups;

mod decoder;
mod peer;
mod setup;
pub(in crate::server) mod socket;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};

use crate::sync::{Time, begin_execution};

/// How many schedules of each kind a model runs, unless `THREADCAST_SCHEDULES` sets another number.
const SCHEDULES: usize = 2_000;
/// The kinds alternate after this many schedules, because each finds some mistakes much faster than the other.
const SCHEDULES_IN_TURN: usize = 250;
/// Preemptions in a schedule of the PCT scheduler (its bug depth).
const PREEMPTIONS: usize = 3;
/// More steps than any execution takes, unless it is in an endless loop.
const MAX_STEPS: usize = 100_000;
const STACK_BYTES: usize = 256 << 10;

/// Runs the model under many schedules. It must hold in all of them.
fn holds(time: Time, model: fn()) {
    let schedules = std::env::var("THREADCAST_SCHEDULES");
    let schedules = schedules.map_or(SCHEDULES, |n| n.parse().expect("a number"));
    for _ in 0..schedules.div_ceil(SCHEDULES_IN_TURN) {
        run(
            PctScheduler::new(PREEMPTIONS, SCHEDULES_IN_TURN),
            time,
            model,
        );
        run(RandomScheduler::new(SCHEDULES_IN_TURN), time, model);
    }
}

fn run(scheduler: impl Scheduler + 'static, time: Time, model: fn()) {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
    config.silence_warnings = true;
    config
        .ungraceful_shutdown_config
        .immediately_return_on_panic = true;
    Runner::new(scheduler, config).run(move || {
        begin_execution(time);
        model();
    });
}
