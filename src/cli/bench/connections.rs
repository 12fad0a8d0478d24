//! Many connections: how fast they open, what memory each takes, and how long a broadcast to all of them takes.

use std::thread;
use std::time::Instant;

use super::Bed;
use super::progress::Progress;
use super::reader::{Books, Reader, Run, Step, Trouble, heeded, joined, trouble};
use super::report::{Opened, SceneReport};
use super::topics::Topics;
use crate::cli::error::CliError;

const SCENE: &str = "connections";
/// Threads that open connections and read from them.
const CREWS: usize = 8;
/// Messages to all, after one before the clock runs.
const BROADCASTS: u64 = 10;

/// Runs it with so many connections.
pub(super) fn run(count: usize, bed: &Bed<'_>) -> Result<SceneReport, CliError> {
    let topics = Topics::make(bed, SCENE, 1)?;
    let run = Run::new(bed.payload_bytes, bed.halt);
    let mut report = SceneReport::new(SCENE, 1, count);
    let topic = topics.names().first().cloned().unwrap_or_default();
    let before = bed.meter.server_bytes();
    let start = Instant::now();
    let crews = open(count, &topic, bed, &run);
    let opened = start.elapsed();
    let grown = bed.meter.server_bytes().zip(before);
    let crews = match crews {
        Ok(crews) if !bed.halt.is_called() => crews,
        Ok(_) => return report.outcome(),
        Err(other) => {
            report.failed(other);
            return report.outcome();
        }
    };
    report.connections = Some(Opened {
        opened: count,
        seconds: opened.as_secs_f64(),
        per_second: count as f64 / opened.as_secs_f64(),
        server_bytes_each: grown.map(|(now, before)| now.saturating_sub(before) / count as u64),
    });
    let (passed, crews, deleted) = thread::scope(|scope| {
        let threads: Vec<_> = crews
            .into_iter()
            .map(|crew| scope.spawn(|| heeded(read(crew), bed.halt)))
            .collect();
        let passed = heeded(broadcast(count as u64, &topic, bed, &run), bed.halt);
        let deleted = topics.delete();
        if deleted.is_err() {
            bed.halt.call();
        }
        let crews: Vec<_> = threads.into_iter().map(joined).collect();
        (passed, crews, deleted)
    });
    let mut books = Books::new();
    for crew in crews {
        match crew.and_then(settle) {
            Ok(own) => books.add(&own),
            Err(trouble) => report.failed(trouble),
        }
    }
    match passed {
        Ok(passed) => report.measured(BROADCASTS, &books, count as u64, passed),
        Err(other) => report.failed(other),
    }
    if !bed.halt.is_called() {
        deleted?;
    }
    report.outcome()
}

fn open(count: usize, topic: &str, bed: &Bed<'_>, run: &Run) -> Result<Vec<Vec<Reader>>, Trouble> {
    let progress = Progress::of(SCENE, count as u64);
    let crew = |index: usize| {
        let mut readers = Vec::new();
        for opened in (index..count).step_by(CREWS) {
            if bed.halt.is_called() {
                break;
            }
            readers.push(Reader::open(bed.client, &[topic], run)?);
            progress.set(opened as u64);
        }
        Ok(readers)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..CREWS.min(count))
            .map(|index| scope.spawn(move || heeded(crew(index), bed.halt)))
            .collect();
        threads.into_iter().map(joined).collect()
    })
}

/// Each message on all connections, one connection after the other; then the end of each.
fn read(mut readers: Vec<Reader>) -> Result<Vec<Reader>, Trouble> {
    for number in 1..=BROADCASTS + 1 {
        for reader in &mut readers {
            while reader.accounted() < number {
                if reader.step()? != Step::Delivery {
                    return Ok(readers);
                }
            }
        }
    }
    for reader in &mut readers {
        reader.read_to_the_end()?;
    }
    Ok(readers)
}

/// The next message is sent when everyone has the one before.
fn broadcast(
    subscribers: u64,
    topic: &str,
    bed: &Bed<'_>,
    run: &Run,
) -> Result<super::meter::Passed, Trouble> {
    bed.client
        .publish(topic, &run.press.untimed(1))
        .map_err(trouble)?;
    run.wait_for(subscribers);
    let start = bed.meter.read();
    for number in 2..=BROADCASTS + 1 {
        if bed.halt.is_called() {
            break;
        }
        bed.client
            .publish(topic, &run.press.timed(number))
            .map_err(trouble)?;
        run.wait_for(number * subscribers);
    }
    Ok(bed.meter.since(start))
}

fn settle(readers: Vec<Reader>) -> Result<Books, Trouble> {
    let mut books = Books::new();
    for reader in readers {
        books.add(&reader.settle(|_| BROADCASTS + 1)?);
    }
    Ok(books)
}
