//! Runs a load: publishes what is due, reads what is there, and ends when everything has arrived everywhere.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ::threadcast::load::{Connection, Failure, PayloadTemplate, Stamp};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::clients::{Publisher, Sequences, Subscriber};
use super::protocol::Protocol;
use super::{Outcome, Pace, Plan};

const TICK_MILLIS: u16 = 250;
/// Where the tokens of the publishers begin; below are the subscribers.
const PUBLISHERS: u64 = 1 << 32;
const TIMER: u64 = u64::MAX;
/// Without a delivery or an ack for so long, a run has failed.
const STALL_DEADLINE: Duration = Duration::from_secs(15);

/// Clients of one topic. Several runs may follow each other.
#[derive(Debug)]
pub(crate) struct Load {
    epoll: Epoll,
    clock: Instant,
    /// The number of its first message, and by how much the next one is greater.
    numbering: (u64, u64),
    may_miss: bool,
    subscribers: Vec<Subscriber>,
    publishers: Vec<Publisher>,
    /// Messages of this load: due to its subscribers, sent, and acknowledged.
    published: u64,
    sent: u64,
    acked: u64,
    scratch: Vec<u8>,
}

/// A run under way.
struct Run {
    payload: PayloadTemplate,
    pace: Pace,
    started: Instant,
    /// Messages published before, and by its end.
    before: u64,
    last: u64,
    /// The newest message that is known to have reached everyone.
    slowest: u64,
    outcome: Outcome,
}

impl Load {
    /// Without clients. Loads that run at the same time share a clock.
    pub(crate) fn new(clock: Instant) -> Result<Load, Failure> {
        Ok(Load {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            clock,
            numbering: (1, 1),
            may_miss: false,
            subscribers: Vec::new(),
            publishers: Vec::new(),
            published: 0,
            sent: 0,
            acked: 0,
            scratch: vec![0; 256 << 10],
        })
    }

    /// The usual load: these publishers and these subscribers.
    pub(crate) fn open(
        server: SocketAddr,
        protocol: &'static dyn Protocol,
        publishers: usize,
        subscribers: usize,
    ) -> Result<Load, Failure> {
        let mut load = Load::new(Instant::now())?;
        for index in 0..subscribers {
            load.subscribe(
                server,
                protocol,
                &format!("reader-{index}"),
                publishers,
                None,
            )?;
        }
        for _ in 0..publishers {
            load.add_publisher(server, protocol)?;
        }
        Ok(load)
    }

    /// Numbers its messages from `first` in steps, so that the numbers of several loads alternate.
    pub(crate) fn set_numbering(&mut self, first: u64, step: u64) {
        self.numbering = (first, step);
    }

    /// Its subscribers may be too slow: what they miss is reported as gaps. Otherwise a gap is a failure.
    pub(crate) fn allow_gaps(&mut self) {
        self.may_miss = true;
    }

    /// Adds a subscriber at this server, of the topic to which so many publish.
    pub(crate) fn subscribe(
        &mut self,
        server: SocketAddr,
        protocol: &'static dyn Protocol,
        client_id: &str,
        publishers: usize,
        receive_buffer_bytes: Option<usize>,
    ) -> Result<(), Failure> {
        let mut connection = Connection::open(server, receive_buffer_bytes)?;
        protocol.subscribe(&mut connection, client_id)?;
        self.watch(&connection, self.subscribers.len() as u64)?;
        self.subscribers.push(Subscriber {
            connection,
            protocol,
            sequences: Sequences::new(publishers),
        });
        Ok(())
    }

    /// Adds a publisher at this server.
    pub(crate) fn add_publisher(
        &mut self,
        server: SocketAddr,
        protocol: &'static dyn Protocol,
    ) -> Result<(), Failure> {
        let mut connection = Connection::open(server, None)?;
        protocol.open_publisher(&mut connection)?;
        self.watch(&connection, PUBLISHERS + self.publishers.len() as u64)?;
        self.publishers.push(Publisher {
            connection,
            protocol,
            sent: 0,
            acked: 0,
            blocked: false,
        });
        Ok(())
    }

    fn watch(&self, connection: &Connection, token: u64) -> Result<(), Failure> {
        connection.set_nonblocking()?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, token);
        Ok(self.epoll.add(connection, event)?)
    }

    /// Publishes what the plan says, if there are publishers, and returns when it is acknowledged and every subscriber has all of it.
    pub(crate) fn run(&mut self, plan: &Plan) -> Result<Outcome, Failure> {
        let mut run = Run {
            payload: PayloadTemplate::new(plan.payload_bytes),
            pace: plan.pace,
            started: Instant::now(),
            before: self.published,
            last: self.published + plan.messages,
            slowest: self.published,
            outcome: Outcome::default(),
        };
        self.published = run.last;
        let expected = plan.messages * self.subscribers.len() as u64;
        let timer = match plan.pace {
            Pace::Window(_) => None,
            Pace::PerSecond(rate) => Some(self.start_timer(rate)?),
        };
        let mut events = vec![EpollEvent::empty(); 1024];
        let mut progress = (0, run.started);
        loop {
            self.publish_due(&mut run)?;
            let delivered = run.outcome.deliveries + run.outcome.reported;
            if delivered >= expected && self.is_acked(run.last) {
                break;
            }
            let done = delivered + self.acked;
            if done != progress.0 {
                progress = (done, Instant::now());
            } else if progress.1.elapsed() > STALL_DEADLINE {
                let missing = expected - delivered;
                return Err(format!(
                    "{missing} of {expected} deliveries never came, and {} of {} acks",
                    self.sent - self.acked,
                    self.sent
                )
                .into());
            }
            let ready = match self.epoll.wait(&mut events, TICK_MILLIS) {
                Err(Errno::EINTR) => 0,
                ready => ready?,
            };
            for event in &events[..ready] {
                match (event.data(), &timer) {
                    // Read, or it would not go on.
                    (TIMER, Some(timer)) => timer.wait()?,
                    (token @ PUBLISHERS.., _) => self.read_acks((token - PUBLISHERS) as usize)?,
                    (index, _) => self.read_events(index as usize, &mut run.outcome)?,
                }
            }
        }
        run.outcome.usage.wall = run.started.elapsed();
        self.check_positions()?;
        Ok(run.outcome)
    }

    /// Wakes the epoll whenever a message is due.
    fn start_timer(&self, rate: u32) -> Result<TimerFd, Failure> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?;
        let interval = TimeSpec::from_duration(Duration::from_secs(1) / rate);
        timer.set(Expiration::Interval(interval), TimerSetTimeFlags::empty())?;
        self.epoll
            .add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        Ok(timer)
    }

    fn publish_due(&mut self, run: &mut Run) -> Result<(), Failure> {
        if self.publishers.is_empty() {
            return Ok(());
        }
        let due = match run.pace {
            Pace::PerSecond(rate) => {
                let by_now = run.started.elapsed().as_secs_f64() * f64::from(rate);
                run.last.min(run.before + 1 + by_now as u64)
            }
            Pace::Window(window) => {
                if self.sent - run.slowest >= window {
                    run.slowest = self.slowest();
                }
                run.last.min(run.slowest + window)
            }
        };
        while self.sent < due {
            let index = (self.sent % self.publishers.len() as u64) as usize;
            let publisher = &mut self.publishers[index];
            let (first, step) = self.numbering;
            let stamp = Stamp {
                number: first + self.sent * step,
                sent_nanos: self.clock.elapsed().as_nanos() as u64,
            };
            let payload = run.payload.stamped(stamp);
            let output = publisher.connection.output();
            publisher.protocol.publish(stamp.number, payload, output);
            publisher.sent += 1;
            self.sent += 1;
        }
        for (token, publisher) in (PUBLISHERS..).zip(&mut self.publishers) {
            publisher.send(&self.epoll, token)?;
        }
        Ok(())
    }

    /// Whether everything up to this message is sent and acknowledged, where anybody publishes and acknowledges.
    fn is_acked(&self, last: u64) -> bool {
        let Some(publisher) = self.publishers.first() else {
            return true;
        };
        self.sent >= last && (self.acked >= last || !publisher.protocol.has_acks())
    }

    /// Up to which message all have reached every subscriber and are acknowledged.
    fn slowest(&self) -> u64 {
        let positions = self.subscribers.iter().map(|one| one.sequences.position());
        positions.min().unwrap_or(self.acked).min(self.acked)
    }

    fn read_acks(&mut self, publisher: usize) -> Result<(), Failure> {
        self.acked += self.publishers[publisher].read(&mut self.scratch)?;
        Ok(())
    }

    fn read_events(&mut self, index: usize, outcome: &mut Outcome) -> Result<(), Failure> {
        let now = self.clock.elapsed().as_nanos() as u64;
        self.subscribers[index].read(&mut self.scratch, now, self.may_miss, outcome)
    }

    /// Whether every subscriber has all that was published.
    fn check_positions(&self) -> Result<(), Failure> {
        for (index, subscriber) in self.subscribers.iter().enumerate() {
            let (position, published) = (subscriber.sequences.position(), self.published);
            if position != published {
                return Err(format!("subscriber {index}: {position} of {published}").into());
            }
        }
        Ok(())
    }
}
