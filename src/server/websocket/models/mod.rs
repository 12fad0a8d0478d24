//! Models of what must always hold, checked by running the shipped code under many schedules of its threads.
//!
//! Each file states what must hold, which threads run, and what is asserted; and for each there is a mistake, put into
//! the shipped code by [`Mutation`], that the model must find. See `docs/verification.md`.
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

pub(super) mod peer;
mod site;
use super::outbox::socket;

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use crate::sync::{Mutation, Time, apply_mutation, begin_execution};

/// Schedules of each kind that a model must stand, unless `THREADCAST_SCHEDULES` says otherwise.
const SCHEDULES: usize = 2_000;
/// Schedules of each kind within which a mistake must be found.
const SCHEDULES_TO_FIND: usize = 20_000;
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
    let began = std::time::Instant::now();
    run(RandomScheduler::new(schedules), None, time, model);
    run(PctScheduler::new(PREEMPTIONS, schedules), None, time, model);
    eprintln!("{} schedules in {:?}", 2 * schedules, began.elapsed());
}

/// Runs the model with a mistake in the shipped code, which it must find, and for one of these reasons.
fn finds(mutation: Mutation, reasons: &[&str], time: Time, model: fn()) {
    let before = EXECUTIONS.get();
    // In turns, because what one kind finds at once the other may hardly ever find.
    for _ in 0..SCHEDULES_TO_FIND / SCHEDULES_IN_TURN {
        let Some(text) = first_panic(|| {
            let pct = PctScheduler::new(PREEMPTIONS, SCHEDULES_IN_TURN);
            run(pct, Some(mutation), time, model);
            let random = RandomScheduler::new(SCHEDULES_IN_TURN);
            run(random, Some(mutation), time, model);
        }) else {
            continue;
        };
        let is_expected = reasons.iter().any(|reason| text.contains(reason));
        assert!(
            is_expected,
            "{mutation:?} was found for another reason: {text}"
        );
        eprintln!(
            "{mutation:?} found in schedule {}",
            EXECUTIONS.get() - before
        );
        return;
    }
    panic!("{mutation:?} was not found");
}

thread_local! {
    /// Schedules begun by this thread.
    static EXECUTIONS: Cell<usize> = const { Cell::new(0) };
    /// While a panic is expected: what the first one said.
    static EXPECTED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What the first panic of all threads of a model said; the checker itself says only that there was one.
fn first_panic(schedules: impl FnOnce()) -> Option<String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            EXPECTED.with_borrow_mut(|expected| match expected {
                Some(text) if text.is_empty() => *text = info.to_string(),
                Some(_) => {}
                None => usual(info),
            });
        }));
    });
    EXPECTED.set(Some(String::new()));
    let caught = catch_unwind(AssertUnwindSafe(schedules));
    let text = EXPECTED.take();
    caught.err().and(text)
}

fn run(scheduler: impl Scheduler + 'static, mutation: Option<Mutation>, time: Time, model: fn()) {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
    config.silence_warnings = true;
    config
        .ungraceful_shutdown_config
        .immediately_return_on_panic = true;
    if mutation.is_some() {
        config.failure_persistence = FailurePersistence::None;
    }
    Runner::new(scheduler, config).run(move || {
        EXECUTIONS.set(EXECUTIONS.get() + 1);
        apply_mutation(mutation);
        begin_execution(time);
        model();
    });
}
