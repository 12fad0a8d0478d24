//! The scene with many publishers at once: all of them send one message at the same moment, once a second, some over
//! REST, and many subscribers read all the time. Under no overflow policy may one of these miss an event.

use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use threadcast::OverflowPolicy;
use threadcast::load::{Failure, ServerProcess};

use super::load::protocol::Protocol;
use super::load::threadcast::{Rest, WebSocket};
use super::load::{Load, Outcome, Pace};
use super::{PAYLOAD_BYTES, Plan, print_fact, print_line, start_server};

const INTERVAL: Duration = Duration::from_secs(1);
/// Threads that read for the subscribers, and as many that send for the publishers.
const THREADS: usize = 2;
/// One publisher in so many speaks REST.
const REST_SHARE: usize = 20;
const SHORTEST_QUEUE: [&str; 4] = ["--max-queue-size", "1", "--history-size", "0"];

/// How many clients there are, and how often the publishers send.
#[derive(Debug, Clone, Copy)]
struct Size {
    publishers: usize,
    subscribers: usize,
    waves: u64,
}

/// Every policy with the default settings, then with the shortest queue and no history; if it is to be quick, only that.
pub(crate) fn run(quick: bool) -> Result<(), Failure> {
    let (publishers, subscribers, waves) = if quick { (300, 50, 2) } else { (1000, 500, 5) };
    let size = Size {
        publishers,
        subscribers,
        waves,
    };
    if !quick {
        for policy in OverflowPolicy::ALL {
            measure(size, policy, &[], policy.as_str())?;
        }
    }
    for policy in OverflowPolicy::ALL {
        measure(size, policy, &SHORTEST_QUEUE, &format!("{policy}, queue 1"))?;
    }
    Ok(())
}

fn measure(size: Size, policy: OverflowPolicy, flags: &[&str], what: &str) -> Result<(), Failure> {
    let server = start_server(&[&["--overflow", policy.as_str()], flags].concat())?;
    let mut slowest = Duration::ZERO;
    let mut crowd = Crowd::open(&server, size).map_err(|failure| format!("{what}: {failure}"))?;
    let outcome = Outcome::measure(&server, || crowd.run(size.waves, &mut slowest))
        .map_err(|failure| format!("{what}: {failure}"))?;
    let (publishers, subscribers) = (size.publishers, size.subscribers);
    let what = format!("{publishers} at once → {subscribers}, {what}");
    print_line(&what, &outcome);
    print_fact(&format!(
        "{} times, {} ms at most until all have all; no gap",
        size.waves,
        slowest.as_millis()
    ));
    drop(crowd);
    server.stop()
}

/// All clients: loads of one thread each, and what a wave is to each of them.
struct Crowd {
    readers: Vec<(Load, Plan)>,
    senders: Vec<(Load, Plan)>,
}

impl Crowd {
    fn open(server: &ServerProcess, size: Size) -> Result<Crowd, Failure> {
        let clock = Instant::now();
        let open = |open_one: fn(&ServerProcess, Size, usize, Instant) -> _| {
            (0..THREADS)
                .map(|group| open_one(server, size, group, clock))
                .collect::<Result<Vec<_>, Failure>>()
        };
        Ok(Crowd {
            readers: open(readers)?,
            senders: open(senders)?,
        })
    }

    /// So many times, once a second: every publisher sends, and every subscriber receives all. Notes the longest time.
    fn run(&mut self, waves: u64, slowest: &mut Duration) -> Result<Outcome, Failure> {
        let mut outcome = Outcome::default();
        let started = Instant::now();
        for wave in 0..waves {
            let due = started + INTERVAL * u32::try_from(wave)?;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let wall = self.wave(&mut outcome)?;
            *slowest = wall.max(*slowest);
            outcome.usage.wall += wall;
        }
        Ok(outcome)
    }

    fn wave(&mut self, outcome: &mut Outcome) -> Result<Duration, Failure> {
        thread::scope(|scope| {
            let loads = self.readers.iter_mut().chain(&mut self.senders);
            let threads: Vec<_> = loads
                .map(|(load, plan)| scope.spawn(|| load.run(plan)))
                .collect();
            let mut slowest = Duration::ZERO;
            for of_thread in threads.into_iter().map(join) {
                let of_thread = of_thread?;
                outcome.add(&of_thread);
                if of_thread.deliveries > 0 {
                    slowest = of_thread.usage.wall.max(slowest);
                }
            }
            Ok(slowest)
        })
    }
}

pub(crate) fn join<T>(thread: ScopedJoinHandle<'_, Result<T, Failure>>) -> Result<T, Failure> {
    thread.join().map_err(|_| "a thread of the load panicked")?
}

/// The subscribers that one thread reads for.
fn readers(
    server: &ServerProcess,
    size: Size,
    group: usize,
    clock: Instant,
) -> Result<(Load, Plan), Failure> {
    let mut load = Load::new(clock)?;
    for index in (group..size.subscribers).step_by(THREADS) {
        let client_id = format!("reader-{index}");
        load.subscribe(
            server.address(),
            &WebSocket,
            &client_id,
            size.publishers,
            None,
        )?;
    }
    Ok((load, wave(size.publishers)))
}

/// The publishers that one thread sends for.
fn senders(
    server: &ServerProcess,
    size: Size,
    group: usize,
    clock: Instant,
) -> Result<(Load, Plan), Failure> {
    let mut load = Load::new(clock)?;
    load.set_numbering(group as u64 + 1, THREADS as u64);
    let indices = (group..size.publishers).step_by(THREADS);
    let publishers = indices.len();
    for index in indices {
        let protocol: &dyn Protocol = match index.is_multiple_of(REST_SHARE) {
            true => &Rest,
            false => &WebSocket,
        };
        load.add_publisher(server.address(), protocol)?;
    }
    Ok((load, wave(publishers)))
}

/// One message of each publisher.
fn wave(publishers: usize) -> Plan {
    Plan {
        messages: publishers as u64,
        payload_bytes: PAYLOAD_BYTES,
        pace: Pace::Window(publishers as u64),
    }
}
