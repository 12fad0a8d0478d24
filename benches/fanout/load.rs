//! The load: publishers, in turn, and their subscribers on one epoll, in the calling thread.
//! Sends as fast as a window allows or at a fixed pace, and takes the time of every delivery.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::Failure;
use super::client::Client;
use super::plan::{Pace, Plan};
use super::run::{Outcome, Run};
use super::verify::Reading;

const TICK_MILLIS: u16 = 250;
/// Where the tokens of the publishers begin; below are the subscribers.
const PUBLISHERS: u64 = 1 << 32;
const TIMER: u64 = u64::MAX;

/// A subscriber with its books.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) client: Client,
    pub(crate) reading: Reading,
}

/// A publisher with what its socket has not taken yet.
#[derive(Debug)]
struct Publisher {
    client: Client,
    unsent: Vec<u8>,
    /// Whether the epoll tells when it can write again.
    blocked: bool,
}

/// The clients of one topic. Several runs may follow each other.
#[derive(Debug)]
pub(crate) struct Load {
    topic: String,
    epoll: Epoll,
    clock: Instant,
    subscribers: Vec<Subscriber>,
    publishers: Vec<Publisher>,
    published: u64,
    acked: u64,
    scratch: Vec<u8>,
}

impl Load {
    pub(crate) fn new(
        topic: &str,
        publishers: Vec<Client>,
        subscribers: Vec<Subscriber>,
    ) -> Result<Load, Failure> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (index, subscriber) in subscribers.iter().enumerate() {
            watch(&epoll, &subscriber.client, index as u64)?;
        }
        for (index, publisher) in publishers.iter().enumerate() {
            watch(&epoll, publisher, PUBLISHERS + index as u64)?;
        }
        let publishers = publishers.into_iter().map(|client| Publisher {
            client,
            unsent: Vec::new(),
            blocked: false,
        });
        Ok(Load {
            topic: topic.to_owned(),
            epoll,
            clock: Instant::now(),
            subscribers,
            publishers: publishers.collect(),
            published: 0,
            acked: 0,
            scratch: vec![0; 256 << 10],
        })
    }

    /// Messages published in all runs so far.
    pub(crate) fn published(&self) -> u64 {
        self.published
    }

    /// Publishes what the plan says and returns when every subscriber has all of it.
    pub(crate) fn run(&mut self, plan: &Plan) -> Result<Outcome, Failure> {
        let mut run = Run::new(plan, &self.topic, self.published, self.subscribers.len());
        let timer = match plan.pace {
            Pace::Window(_) => None,
            Pace::PerSecond(rate) => Some(self.start_timer(rate)?),
        };
        let mut events = vec![EpollEvent::empty(); 1024];
        while !run.is_complete(self.acked) {
            self.publish_due(&mut run);
            self.flush()?;
            let ready = wait(&self.epoll, &mut events)?;
            for event in &events[..ready] {
                match (event.data(), &timer) {
                    // Read, or it would not go on.
                    (TIMER, Some(timer)) => timer.wait()?,
                    (token @ PUBLISHERS.., _) => self.read_acks((token - PUBLISHERS) as usize)?,
                    (index, _) => self.read_events(index as usize, &mut run)?,
                }
            }
            run.check_progress(self.acked)?;
        }
        Ok(run.end())
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

    fn publish_due(&mut self, run: &mut Run) {
        let due = match run.pace {
            Pace::PerSecond(rate) => {
                let by_now = run.started.elapsed().as_secs_f64() * f64::from(rate);
                run.last.min(run.first + by_now as u64)
            }
            Pace::Window(window) => {
                if self.published - run.slowest >= window {
                    run.slowest = self.slowest();
                }
                run.last.min(run.slowest + window)
            }
        };
        while self.published < due {
            let publisher = self.published as usize % self.publishers.len();
            self.published += 1;
            let now = self.clock.elapsed().as_nanos() as u64;
            let unsent = &mut self.publishers[publisher].unsent;
            run.template.append(self.published, now, unsent);
        }
    }

    /// Up to which message all have reached every subscriber, or how many have been acked, if that is less.
    fn slowest(&self) -> u64 {
        let accounted = self.subscribers.iter().map(|one| one.reading.accounted());
        accounted.min().unwrap_or(self.acked).min(self.acked)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        for (token, publisher) in (PUBLISHERS..).zip(&mut self.publishers) {
            publisher.flush(&self.epoll, token)?;
        }
        Ok(())
    }

    fn read_events(&mut self, index: usize, run: &mut Run) -> Result<(), Failure> {
        let now = self.clock.elapsed().as_nanos() as u64;
        let Subscriber { client, reading } = &mut self.subscribers[index];
        client.read_frames(&mut self.scratch, &mut |frame| {
            run.enter(reading.enter(frame)?, now)
        })
    }

    fn read_acks(&mut self, publisher: usize) -> Result<(), Failure> {
        let client = &mut self.publishers[publisher].client;
        self.acked += client.read_acks(&mut self.scratch)? as u64;
        Ok(())
    }
}

impl Publisher {
    fn flush(&mut self, epoll: &Epoll, token: u64) -> Result<(), Failure> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let written = self.client.write_some(&self.unsent)?;
        self.unsent.drain(..written);
        let blocked = !self.unsent.is_empty();
        if blocked != self.blocked {
            self.blocked = blocked;
            let mut wanted = EpollFlags::EPOLLIN;
            wanted.set(EpollFlags::EPOLLOUT, blocked);
            epoll.modify(&self.client, &mut EpollEvent::new(wanted, token))?;
        }
        Ok(())
    }
}

/// Waits for something to be ready, for a moment; returns how many events there are.
pub(crate) fn wait(epoll: &Epoll, events: &mut [EpollEvent]) -> Result<usize, Failure> {
    match epoll.wait(events, TICK_MILLIS) {
        Err(Errno::EINTR) => Ok(0),
        ready => Ok(ready?),
    }
}

/// Registers a client for reading.
pub(crate) fn watch(epoll: &Epoll, client: &Client, token: u64) -> Result<(), Failure> {
    client.set_nonblocking()?;
    epoll.add(client.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, token))?;
    Ok(())
}
