//! The scene in which a crowd joins a topic at once: what it costs that somebody watches who is subscribed, and how many notices a
//! watcher gets. Fails when a watcher does not come to the right number.

use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use threadcast::load::{Connection, Failure, Incoming, measure};

use super::load::protocol::TOPIC;
use super::load::threadcast::{read_ack, subscribe_request};
use super::{crowd, print_fact, print_median, start_server};

/// Threads that open connections.
const THREADS: usize = 2;

/// Who watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watchers {
    /// This many clients that were there before.
    Before(usize),
    /// Everybody who joins.
    All,
}

impl fmt::Display for Watchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Watchers::Before(0) => f.write_str("nobody watches"),
            Watchers::Before(count) => write!(f, "{count} watch"),
            Watchers::All => f.write_str("all watch"),
        }
    }
}

/// Rounds without watchers, with a few, and with nothing else.
pub(crate) fn run(quick: bool) -> Result<(), Failure> {
    let (joins, rounds) = if quick { (200, 1) } else { (5_000, 5) };
    let kinds = [Watchers::Before(10), Watchers::Before(100), Watchers::All];
    let mut ratios = [const { Vec::new() }; 3];
    for _ in 0..rounds {
        let alone = crowd(joins, Watchers::Before(0))?;
        for (kind, ratios) in kinds.into_iter().zip(&mut ratios) {
            ratios.push(crowd(joins, kind)? / alone);
        }
    }
    for (kind, ratios) in kinds.into_iter().zip(ratios) {
        print_median(&format!("a join, {kind} / nobody watches"), ratios);
    }
    Ok(())
}

/// Returns the server's processor time for each join, in microseconds.
fn crowd(joins: usize, watchers: Watchers) -> Result<f64, Failure> {
    let server = start_server(&[])?;
    let address = server.address();
    let before = match watchers {
        Watchers::Before(count) => count,
        Watchers::All => 0,
    };
    let mut watching = open(address, 0..before, true)?;
    let total = before + joins;
    let began = Instant::now();
    let (joined, usage) = measure(Some(&server), || {
        let mut joined = join(address, before..total, watchers == Watchers::All)?;
        let took = began.elapsed();
        if watchers == Watchers::All {
            watching = std::mem::take(&mut joined);
        }
        let mut notices = Vec::new();
        for connection in &mut watching {
            notices.push(await_total(connection, total)?);
        }
        Ok::<_, Failure>((joined, took, notices))
    });
    let (joined, took, notices) = joined?;
    let server_cpu = usage.server_cpu.ok_or("this system does not say it")?;
    let cpu = server_cpu.as_secs_f64() * 1e6 / joins as f64;
    println!(
        "{:<44} {:>10.0}/s {cpu:>8.1} µs",
        format!("{joins} join, {watchers}"),
        joins as f64 / took.as_secs_f64()
    );
    if let Some(most) = notices.iter().max() {
        print_fact(&format!("a watcher got {most} notices at most"));
    }
    drop((joined, watching));
    server.stop()?;
    Ok(cpu)
}

fn join(
    address: SocketAddr,
    numbers: std::ops::Range<usize>,
    watches: bool,
) -> Result<Vec<Connection>, Failure> {
    let each = numbers.len().div_ceil(THREADS);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let first = numbers.start + thread * each;
                let its = first..(first + each).min(numbers.end);
                scope.spawn(move || open(address, its, watches))
            })
            .collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(crowd::join(thread)?);
        }
        Ok(all)
    })
}

fn open(
    address: SocketAddr,
    numbers: std::ops::Range<usize>,
    watches: bool,
) -> Result<Vec<Connection>, Failure> {
    let open = |number: usize| {
        let mut connection = Connection::open(address, None)?;
        connection.upgrade("/ws", None)?;
        let mut request = subscribe_request(TOPIC, &format!("client-{number}"));
        if watches {
            request.truncate(request.len() - 1);
            request.push_str(r#","presence":true}"#);
        }
        connection.add_text(request.as_bytes());
        connection.send()?;
        read_ack(&mut connection)?;
        Ok(connection)
    };
    numbers.map(open).collect()
}

/// Reads notices until one says this total. Returns how many there were, the list behind the ack included.
fn await_total(connection: &mut Connection, total: usize) -> Result<usize, Failure> {
    let last = format!(r#""msg":"presence","total":{total},"#);
    let mut notices = 0;
    loop {
        notices += 1;
        match connection.read_text() {
            Incoming::Text(text) => {
                if text.windows(last.len()).any(|part| part == last.as_bytes()) {
                    return Ok(notices);
                }
            }
            other => return Err(format!("no notice: {other:?}").into()),
        }
    }
}
