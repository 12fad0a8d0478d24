//! Models of what must always hold, checked by running the shipped code under many schedules of its threads.
//!
//! Each file states what must hold, which threads run, and what is asserted. For each there are mistakes in
//! `tests/mutations/` that the model must find. See `docs/verification.md`.
//!
//! [`site`] sets up a broker with connections, [`socket`] is the kernel and [`peer`] the client behind it. Every model
//! also checks the order of locks, that no socket is touched under a topic's lock, and that nobody waits for a peer
//! under any.

#![allow(clippy::unwrap_used)]

mod accounts;
mod acks;
mod blocking;
mod closing;
mod crowd;
mod frames;
mod recreate;
mod replies;
mod shutdown;
mod takeover;
mod wake_ups;

mod peer;
mod site;
pub(in crate::server) mod socket;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};

use crate::sync::{Time, begin_execution};

/// Schedules of each kind that a model must stand, unless `THREADCAST_SCHEDULES` says otherwise.
const SCHEDULES: usize = 2_000;
/// The kinds take turns, because what one finds at once the other may hardly ever find.
const SCHEDULES_IN_TURN: usize = 250;
/// Moments at which a schedule of the second kind takes the turn from a thread (PCT's bug depth).
const PREEMPTIONS: usize = 3;
/// More than any execution takes that is not caught in a loop.
const MAX_STEPS: usize = 100_000;
const STACK_BYTES: usize = 256 << 10;

/// Runs the model under many schedules, all of which it must stand.
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
