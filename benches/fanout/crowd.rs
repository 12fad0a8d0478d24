//! The scene with many publishers at once: all of them send one message at the same moment, once a second, some over
//! REST, and many subscribers read all the time. Under no overflow policy may one of these miss an event.

use std::os::fd::{AsFd, BorrowedFd};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::Failure;
use super::client::Client;
use super::load::{Subscriber, wait, watch};
use super::plan::{Pace, Plan};
use super::report::{self, Measured};
use super::rest::RestClient;
use super::run::{Outcome, Run, STALL_DEADLINE};
use super::server::ServerProcess;
use super::set_up::{PAYLOAD_BYTES, TOPIC, subscribe};
use super::template::Template;

const POLICIES: [&str; 3] = ["drop_oldest", "disconnect", "block"];
const INTERVAL: Duration = Duration::from_secs(1);
/// Threads that read for the subscribers, and as many that send for the publishers.
const THREADS: usize = 2;
/// One publisher in so many speaks REST.
const REST_SHARE: usize = 20;

/// Who takes part, and how often the publishers send.
#[derive(Debug, Clone, Copy)]
struct Size {
    publishers: usize,
    subscribers: usize,
    waves: u64,
}

/// Every policy with the default settings, then with the shortest queue and no history; if it is to be quick, only that.
pub(crate) fn run(quick: bool) -> Result<(), Failure> {
    let size = match quick {
        true => Size {
            publishers: 300,
            subscribers: 50,
            waves: 2,
        },
        false => Size {
            publishers: 1000,
            subscribers: 500,
            waves: 5,
        },
    };
    let shortest = [("PUBSUB_MAX_QUEUE_SIZE", "1"), ("PUBSUB_HISTORY_SIZE", "0")];
    if !quick {
        for policy in POLICIES {
            measure(size, policy, &[], policy)?;
        }
    }
    for policy in POLICIES {
        measure(size, policy, &shortest, &format!("{policy}, queue 1"))?;
    }
    Ok(())
}

fn measure(size: Size, policy: &str, settings: &[(&str, &str)], what: &str) -> Result<(), Failure> {
    let overflow = [("PUBSUB_OVERFLOW", policy)];
    let settings = settings.iter().chain(&overflow);
    let settings: Vec<_> = settings
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    let server = ServerProcess::start(&settings)?;
    let mut crowd = Crowd::open(&server, size).map_err(|failure| format!("{what}: {failure}"))?;
    let mut slowest = Duration::ZERO;
    let measured = Measured::take(&server, || crowd.run(size.waves, &mut slowest))
        .map_err(|failure| format!("{what}: {failure}"))?;
    let Size {
        publishers,
        subscribers,
        waves,
    } = size;
    report::print_line(
        &format!("{publishers} at once → {subscribers}, {what}"),
        &measured,
    );
    crowd.check_books(waves * publishers as u64)?;
    report::print_fact(&format!(
        "{waves} times, {} ms at most until all have all; no gap",
        slowest.as_millis()
    ));
    drop(crowd);
    server.stop()
}

/// All clients, in groups of one thread each.
struct Crowd {
    clock: Instant,
    publishers: usize,
    published: u64,
    senders: Vec<Senders>,
    readers: Vec<Readers>,
}

impl Crowd {
    fn open(server: &ServerProcess, size: Size) -> Result<Crowd, Failure> {
        server.create_topic(TOPIC)?;
        let shares = || (0..THREADS).map(|group| (group, THREADS));
        let readers = shares().map(|share| Readers::open(server, size, share));
        let readers = readers.collect::<Result<_, _>>()?;
        let senders = shares().map(|share| Senders::open(server, size, share));
        Ok(Crowd {
            clock: Instant::now(),
            publishers: size.publishers,
            published: 0,
            senders: senders.collect::<Result<_, _>>()?,
            readers,
        })
    }

    /// So many times, once a second: everybody sends, and everybody gets everything. Takes down how long that took.
    fn run(&mut self, waves: u64, slowest: &mut Duration) -> Result<Outcome, Failure> {
        let mut outcome = Outcome::new();
        let started = Instant::now();
        for wave in 0..waves {
            let due = started + INTERVAL * u32::try_from(wave)?;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let of_wave = self.wave()?;
            *slowest = of_wave.wall.max(*slowest);
            outcome.add_later(&of_wave);
        }
        Ok(outcome)
    }

    fn wave(&mut self) -> Result<Outcome, Failure> {
        let (clock, published) = (self.clock, self.published);
        let plan = Plan {
            messages: self.publishers as u64,
            payload_bytes: PAYLOAD_BYTES,
            pace: Pace::Window(self.publishers as u64),
        };
        let outcome = thread::scope(|scope| {
            let reading: Vec<_> = (self.readers.iter_mut())
                .map(|group| spawn(scope, move || group.read(&plan, published, clock)))
                .collect();
            let sending: Vec<_> = (self.senders.iter_mut())
                .map(|group| spawn(scope, move || group.send(published, clock)))
                .collect();
            let mut outcome = Outcome::new();
            for reader in reading {
                outcome.add_parallel(&join(reader)?);
            }
            sending.into_iter().try_for_each(join)?;
            Ok::<_, Failure>(outcome)
        })?;
        self.published += plan.messages;
        Ok(outcome)
    }

    /// Whether every subscriber has received all, each once.
    fn check_books(&self, published: u64) -> Result<(), Failure> {
        let readings = self.readers.iter().flat_map(|group| &group.subscribers);
        for (index, one) in readings.enumerate() {
            let received = one.reading.accounted();
            if received != published {
                return Err(format!("reader {index}: {received} of {published}").into());
            }
        }
        Ok(())
    }
}

/// Runs one group; a failure goes from thread to thread as its text.
fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'scope,
) -> ScopedJoinHandle<'scope, Result<T, String>> {
    scope.spawn(|| work().map_err(|failure| failure.to_string()))
}

fn join<T>(thread: ScopedJoinHandle<'_, Result<T, String>>) -> Result<T, Failure> {
    let ended = thread.join().map_err(|_| "a thread of the load panicked")?;
    Ok(ended?)
}

/// Subscribers that one thread reads for.
struct Readers {
    epoll: Epoll,
    subscribers: Vec<Subscriber>,
}

impl Readers {
    fn open(
        server: &ServerProcess,
        size: Size,
        (group, groups): (usize, usize),
    ) -> Result<Readers, Failure> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let subscribers = (group..size.subscribers)
            .step_by(groups)
            .map(|index| subscribe(server, &format!("reader-{index}"), size.publishers, None))
            .collect::<Result<Vec<_>, _>>()?;
        for (index, subscriber) in subscribers.iter().enumerate() {
            watch(&epoll, &subscriber.client, index as u64)?;
        }
        Ok(Readers { epoll, subscribers })
    }

    /// Reads until each of these subscribers has all messages of the plan.
    fn read(&mut self, plan: &Plan, published: u64, clock: Instant) -> Result<Outcome, Failure> {
        let mut run = Run::new(plan, TOPIC, published, self.subscribers.len());
        let mut scratch = vec![0; 256 << 10];
        let mut events = vec![EpollEvent::empty(); 1024];
        let acked = run.last;
        while !run.is_complete(acked) {
            let ready = wait(&self.epoll, &mut events)?;
            for event in &events[..ready] {
                let now = clock.elapsed().as_nanos() as u64;
                let Subscriber { client, reading } = &mut self.subscribers[event.data() as usize];
                client.read_frames(&mut scratch, &mut |frame| {
                    run.enter(reading.enter(frame)?, now)
                })?;
            }
            run.check_progress(acked)?;
        }
        Ok(run.end())
    }
}

/// One publisher, with its number.
struct Sender {
    index: usize,
    speaks: Speaks,
    is_acked: bool,
}

enum Speaks {
    WebSocket(Client),
    Rest(RestClient),
}

impl AsFd for Speaks {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Speaks::WebSocket(client) => client.as_fd(),
            Speaks::Rest(client) => client.as_fd(),
        }
    }
}

/// Publishers that one thread sends for.
struct Senders {
    epoll: Epoll,
    publishers: usize,
    senders: Vec<Sender>,
    frames: Template,
    requests: Template,
}

impl Senders {
    fn open(
        server: &ServerProcess,
        size: Size,
        (group, groups): (usize, usize),
    ) -> Result<Senders, Failure> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let senders = (group..size.publishers)
            .step_by(groups)
            .map(|index| Sender::open(server, index))
            .collect::<Result<Vec<_>, _>>()?;
        for (at, sender) in senders.iter().enumerate() {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, at as u64);
            epoll.add(&sender.speaks, event)?;
        }
        Ok(Senders {
            epoll,
            publishers: size.publishers,
            senders,
            frames: Template::new(TOPIC, PAYLOAD_BYTES),
            requests: Template::rest(TOPIC, PAYLOAD_BYTES),
        })
    }

    /// Sends one message of each, without waiting in between; returns when all are acknowledged.
    fn send(&mut self, published: u64, clock: Instant) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        for sender in &mut self.senders {
            let number = published + sender.index as u64 + 1;
            let now = clock.elapsed().as_nanos() as u64;
            bytes.clear();
            let written = match &mut sender.speaks {
                Speaks::WebSocket(client) => {
                    self.frames.append(number, now, &mut bytes);
                    client.write_some(&bytes)?
                }
                Speaks::Rest(client) => {
                    self.requests.append(number, now, &mut bytes);
                    client.write_some(&bytes)?
                }
            };
            if written < bytes.len() {
                return Err("a socket with nothing unsent did not take a message".into());
            }
            sender.is_acked = false;
        }
        self.read_acks()
    }

    fn read_acks(&mut self) -> Result<(), Failure> {
        let mut scratch = vec![0; 16 << 10];
        let mut events = vec![EpollEvent::empty(); 1024];
        let deadline = Instant::now() + STALL_DEADLINE;
        let mut missing = self.senders.len();
        while missing > 0 {
            if Instant::now() > deadline {
                let publishers = self.publishers;
                return Err(format!("{missing} of {publishers} acks never came").into());
            }
            let ready = wait(&self.epoll, &mut events)?;
            for event in &events[..ready] {
                missing -= self.senders[event.data() as usize].read_ack(&mut scratch)?;
            }
        }
        Ok(())
    }
}

impl Sender {
    fn open(server: &ServerProcess, index: usize) -> Result<Sender, Failure> {
        let address = server.address();
        let speaks = if index.is_multiple_of(REST_SHARE) {
            Speaks::Rest(RestClient::connect(address)?)
        } else {
            let client = Client::connect(address, None)?;
            client.set_nonblocking()?;
            Speaks::WebSocket(client)
        };
        Ok(Sender {
            index,
            speaks,
            is_acked: true,
        })
    }

    /// Reads once; returns how many acks came, which is one at most.
    fn read_ack(&mut self, scratch: &mut [u8]) -> Result<usize, Failure> {
        let acks = match &mut self.speaks {
            Speaks::Rest(client) => client.read_answers(scratch)?,
            Speaks::WebSocket(client) => client.read_acks(scratch)?,
        };
        match (acks, self.is_acked) {
            (0, _) => {}
            (1, false) => self.is_acked = true,
            _ => return Err(format!("publisher {}: an ack too many", self.index).into()),
        }
        Ok(acks)
    }
}
