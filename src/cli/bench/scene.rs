//! One scene: opens the subscribers, publishes while they read, deletes the topics, and checks that nobody missed anything.

use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::Setup;
use super::progress::Progress;
use super::publisher::{Pace, Publisher};
use super::reader::{Counts, Problem, Reader, Shared, read_all};
use super::report::{Opened, SceneReport};
use super::topics::Topics;
use crate::cli::error::CliError;

/// Threads that open subscribers, and that read from them where a thread for each would be too many.
const THREADS: usize = 8;

/// What a scene consists of. Of several topics each has one subscriber; one topic has all of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) name: &'static str,
    pub(super) topics: usize,
    pub(super) subscribers: usize,
    pub(super) pace: Pace,
}

/// Runs a scene.
pub(super) fn run(plan: &Plan, setup: &Setup<'_>) -> Result<SceneReport, CliError> {
    let mut report = SceneReport::new(plan.name, plan.topics, plan.subscribers);
    let topics = Topics::create(setup, plan.name, plan.topics)?;
    let shared = Shared::new(setup.cancel);
    let bytes_before = setup.server_bytes();
    let start = Instant::now();
    let readers = match open(plan, topics.names(), setup, &shared) {
        Ok(readers) if !setup.cancel.is_cancelled() => readers,
        Ok(_) => return report.outcome(),
        Err(problem) => {
            report.add_problem(problem);
            return report.outcome();
        }
    };
    if let Pace::Broadcasts(_) = plan.pace {
        let bytes = setup.server_bytes().zip(bytes_before);
        let grown = bytes.map(|(now, before)| now.saturating_sub(before));
        report.connections = Some(Opened::new(plan.subscribers, start.elapsed(), grown));
    }
    let deleted = measure(plan, topics, readers, setup, &shared, &mut report);
    if !setup.cancel.is_cancelled() {
        deleted?;
    }
    report.outcome()
}

/// Returns whether the topics could be deleted; everything else is in the report.
fn measure(
    plan: &Plan,
    topics: Topics,
    readers: Vec<Reader>,
    setup: &Setup<'_>,
    shared: &Shared,
    report: &mut SceneReport,
) -> Result<(), CliError> {
    let cancel = setup.cancel;
    let followers = if plan.topics == 1 {
        plan.subscribers as u64
    } else {
        1
    };
    let mut publisher = Publisher::new(topics.names(), followers, plan.pace, setup, shared);
    let (groups, messages) = grouped(readers, plan.pace);
    let (usage, deleted, groups) = thread::scope(|scope| {
        let read = move |mut readers: Vec<Reader>| {
            let counts = cancel.on_error(read_all(&mut readers, messages));
            counts.map(|counts| (readers, counts))
        };
        let threads: Vec<_> = groups
            .into_iter()
            .map(|group| scope.spawn(move || read(group)))
            .collect();
        let progress = Progress::new(plan.name, millis(setup.duration));
        let usage = cancel.on_error(publisher.run(&progress));
        // This ends each subscription behind its last event.
        let deleted = cancel.on_error(topics.delete());
        let groups: Vec<_> = threads.into_iter().map(join).collect();
        (usage, deleted, groups)
    });
    let published = publisher.sent_by_topic();
    let mut counts = Counts::default();
    for group in groups {
        let checked = group.and_then(|(readers, of_group)| {
            counts.add(&of_group);
            // What a cancelled measurement has not delivered is not missing.
            let is_complete = |reader: &Reader| reader.check_complete(&published);
            match cancel.is_cancelled() {
                true => Ok(()),
                false => readers.iter().try_for_each(is_complete),
            }
        });
        if let Err(problem) = checked {
            report.add_problem(problem);
        }
    }
    match usage {
        Ok(usage) => {
            let untimed = plan.topics as u64;
            let published = publisher.sent().saturating_sub(untimed);
            report.add_figures(published, &counts, untimed * followers, usage);
        }
        Err(problem) => report.add_problem(problem),
    }
    deleted
}

/// Opens the subscribers, with several threads.
fn open(
    plan: &Plan,
    topics: &[String],
    setup: &Setup<'_>,
    shared: &Shared,
) -> Result<Vec<Reader>, Problem> {
    let progress = Progress::new(plan.name, plan.subscribers as u64);
    let open_share = |first: usize| {
        let mut readers = Vec::new();
        for index in (first..plan.subscribers).step_by(THREADS) {
            if setup.cancel.is_cancelled() {
                break;
            }
            let topics = share(topics, index, plan.subscribers);
            readers.push(Reader::open(setup.client, &topics, shared)?);
            progress.set(index as u64);
        }
        Ok(readers)
    };
    let groups: Result<Vec<_>, Problem> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS.min(plan.subscribers))
            .map(|first| scope.spawn(move || setup.cancel.on_error(open_share(first))))
            .collect();
        threads.into_iter().map(join).collect()
    });
    Ok(groups?.into_iter().flatten().collect())
}

/// The topics of one subscriber.
fn share(names: &[String], index: usize, subscribers: usize) -> Vec<&str> {
    let first = if names.len() == 1 { 0 } else { index };
    let share = names.iter().skip(first).step_by(subscribers);
    share.map(String::as_str).collect()
}

/// The readers of each thread, and how many messages they read in turn: a broadcast may have thousands of readers.
fn grouped(mut readers: Vec<Reader>, pace: Pace) -> (Vec<Vec<Reader>>, u64) {
    let (size, messages) = match pace {
        Pace::Broadcasts(count) => (readers.len().div_ceil(THREADS), count + 1),
        Pace::Window(_) | Pace::PerSecond(_) => (1, 0),
    };
    let mut groups = Vec::new();
    while !readers.is_empty() {
        let rest = readers.split_off(size.min(readers.len()));
        groups.push(std::mem::replace(&mut readers, rest));
    }
    (groups, messages)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn join<T>(thread: ScopedJoinHandle<'_, Result<T, Problem>>) -> Result<T, Problem> {
    let panicked = |_| Err(Problem::Failed("a subscriber panicked".to_owned()));
    thread.join().unwrap_or_else(panicked)
}
