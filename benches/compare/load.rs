//! The load: one publisher at a fixed pace and its subscribers, on one epoll in the calling thread, the same for all servers.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::Failure;
use super::histogram::Histogram;
use super::ledger::Ledger;
use super::process::ServerProcess;
use super::stamp::Stamp;
use super::wire::Wire;

const PUBLISHER: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;
const SET_UP_DEADLINE: Duration = Duration::from_secs(10);
/// Without any delivery for so long, a run has failed.
const STALL_DEADLINE: Duration = Duration::from_secs(15);
/// Events before the clocks run: paths are warm, and every subscription is known to be there.
const WARM_UP_EVENTS: u64 = 10;

/// One run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) subscribers: usize,
    /// Events a second.
    pub(crate) rate: u32,
    pub(crate) events: u64,
}

/// What it showed.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) deliveries: u64,
    pub(crate) server_cpu: Duration,
    pub(crate) latency: Histogram,
}

/// Puts the plan on a server; fails unless every event arrives at every subscriber once and in order.
pub(crate) fn run(
    server: &ServerProcess,
    wire: &dyn Wire,
    plan: &Plan,
) -> Result<Figures, Failure> {
    let mut load = Load::open(server, wire, plan)?;
    load.publish(WARM_UP_EVENTS)?;
    load.latency = Histogram::new();
    let before = server.cpu()?;
    load.publish(plan.events)?;
    Ok(Figures {
        deliveries: plan.events * plan.subscribers as u64,
        server_cpu: server.cpu()?.saturating_sub(before),
        latency: load.latency,
    })
}

/// A connection, what has come of a message that is not whole, and the books of what was whole.
struct Client {
    stream: TcpStream,
    partial: Vec<u8>,
    ledger: Ledger,
}

struct Load<'a> {
    wire: &'a dyn Wire,
    epoll: Epoll,
    timer: TimerFd,
    clock: Instant,
    rate: u32,
    subscribers: Vec<Client>,
    publisher: Client,
    unsent: Vec<u8>,
    published: u64,
    latency: Histogram,
    deliveries: u64,
}

impl<'a> Load<'a> {
    fn open(server: &ServerProcess, wire: &'a dyn Wire, plan: &Plan) -> Result<Load<'a>, Failure> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let subscribers = (0..plan.subscribers)
            .map(|index| {
                let mut client = Client::connect(server)?;
                wire.subscribe(&mut client.stream, index)?;
                client.watch(&epoll, index as u64)?;
                Ok(client)
            })
            .collect::<Result<_, Failure>>()?;
        let mut publisher = Client::connect(server)?;
        wire.introduce(&mut publisher.stream)?;
        publisher.watch(&epoll, PUBLISHER)?;
        // Wakes the epoll whenever an event is due.
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?;
        let interval = TimeSpec::from_duration(Duration::from_secs(1) / plan.rate);
        timer.set(Expiration::Interval(interval), TimerSetTimeFlags::empty())?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        Ok(Load {
            wire,
            epoll,
            timer,
            clock: Instant::now(),
            rate: plan.rate,
            subscribers,
            publisher,
            unsent: Vec::new(),
            published: 0,
            latency: Histogram::new(),
            deliveries: 0,
        })
    }

    /// Publishes so many events at the plan's pace and returns when every subscriber has them.
    fn publish(&mut self, events: u64) -> Result<(), Failure> {
        let (first, started) = (self.published, Instant::now());
        let (last, wanted) = (first + events, events * self.subscribers.len() as u64);
        self.deliveries = 0;
        let mut ready = vec![EpollEvent::empty(); 1024];
        let mut progress = (0, Instant::now());
        while self.deliveries < wanted {
            let by_now = started.elapsed().as_secs_f64() * f64::from(self.rate);
            self.send_up_to(last.min(first + 1 + by_now as u64))?;
            let count = match self.epoll.wait(&mut ready, 250_u16) {
                Err(Errno::EINTR) => 0,
                count => count?,
            };
            for event in &ready[..count] {
                match event.data() {
                    // Read, or it would not go on.
                    TIMER => self.timer.wait()?,
                    PUBLISHER => self.read_answers()?,
                    index => self.read_events(index as usize)?,
                }
            }
            if self.deliveries > progress.0 {
                progress = (self.deliveries, Instant::now());
            } else if progress.1.elapsed() > STALL_DEADLINE {
                return Err(
                    format!("{} of {wanted} deliveries never came", wanted - progress.0).into(),
                );
            }
        }
        Ok(())
    }

    fn send_up_to(&mut self, due: u64) -> Result<(), Failure> {
        while self.published < due {
            self.published += 1;
            let stamp = Stamp {
                sent_nanos: self.clock.elapsed().as_nanos() as u64,
                number: self.published,
            };
            self.wire.publish(&stamp.payload(), &mut self.unsent);
        }
        if self.unsent.is_empty() {
            return Ok(());
        }
        // What the socket does not take goes with the next tick.
        match self.publisher.stream.write(&self.unsent) {
            Ok(written) => drop(self.unsent.drain(..written)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn read_answers(&mut self) -> Result<(), Failure> {
        self.publisher.read(self.wire, |_, _| Ok(()))
    }

    fn read_events(&mut self, index: usize) -> Result<(), Failure> {
        let now = self.clock.elapsed().as_nanos() as u64;
        let (latency, deliveries) = (&mut self.latency, &mut self.deliveries);
        self.subscribers[index].read(self.wire, |ledger, payload| {
            let stamp = Stamp::of(payload).ok_or("an event without a stamp")?;
            ledger.enter(stamp.number)?;
            *deliveries += 1;
            latency.record(now.saturating_sub(stamp.sent_nanos));
            Ok(())
        })
    }
}

impl Client {
    fn connect(server: &ServerProcess) -> Result<Client, Failure> {
        let stream = TcpStream::connect(server.address())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SET_UP_DEADLINE))?;
        Ok(Client {
            stream,
            partial: Vec::new(),
            ledger: Ledger::new(),
        })
    }

    fn watch(&self, epoll: &Epoll, token: u64) -> Result<(), Failure> {
        self.stream.set_nonblocking(true)?;
        epoll.add(&self.stream, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        Ok(())
    }

    /// Reads once and hands over every whole payload, with the ledger to enter it in.
    fn read(
        &mut self,
        wire: &dyn Wire,
        mut on_payload: impl FnMut(&mut Ledger, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut chunk = [0; 64 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(count) => self.partial.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let mut at = 0;
        while let Some(message) = wire.next(&self.partial[at..])? {
            if let Some(payload) = message.payload {
                on_payload(
                    &mut self.ledger,
                    &self.partial[at + payload.start..at + payload.end],
                )?;
            }
            at += message.length;
        }
        self.partial.drain(..at);
        Ok(())
    }
}
