//! One publisher and its subscribers, each a thread: topics are filled for a while, and every event is checked.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use threadcast::client::Pipeline;

use super::Bed;
use super::progress::Progress;
use super::reader::{Books, Reader, Run, Trouble, heeded, trouble};
use super::report::SceneReport;
use super::topics::Topics;
use crate::cli::failure::Failure;

/// Messages in flight at a steady rate: it is a bound, nothing is expected to reach it.
const STEADY_WINDOW: usize = 64;

/// How the publisher sends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// As fast as so many messages in flight allow.
    Window(usize),
    /// So many a second.
    PerSecond(f64),
}

/// Runs it. Of several topics, each has one subscriber; one topic has all of them.
pub(super) fn run(
    scene: &'static str,
    topics: usize,
    subscribers: usize,
    pace: Pace,
    bed: &Bed<'_>,
) -> Result<SceneReport, Failure> {
    let topics = Topics::make(bed, scene, topics)?;
    let run = Run::new(bed.payload_bytes, bed.halt);
    let names = topics.names();
    let followers_of_each = if names.len() == 1 { subscribers } else { 1 };
    let mut readers = Vec::new();
    for index in 0..subscribers {
        if bed.halt.is_called() {
            return Ok(SceneReport::new(scene, names.len(), 0));
        }
        let reader = Reader::open(bed.client, &share(names, index, subscribers), &run);
        readers.push(reader.map_err(failed)?);
    }
    let mut report = SceneReport::new(scene, names.len(), subscribers);
    let mut publisher = Publisher::new(names, pace, bed, &run);
    let ended = thread::scope(|scope| {
        let threads: Vec<_> = readers
            .into_iter()
            .map(|mut reader| {
                scope.spawn(|| {
                    let read = reader.read_to_the_end();
                    heeded(read.map(|()| reader), bed.halt)
                })
            })
            .collect();
        let published = publisher.warm_up().and_then(|()| {
            run.wait_for(publisher.total() * followers_of_each as u64);
            let start = bed.meter.read();
            publisher.publish(bed.duration, &Progress::of(scene, millis(bed.duration)))?;
            run.wait_for(publisher.total() * followers_of_each as u64);
            Ok(bed.meter.since(start))
        });
        let passed = heeded(published, bed.halt);
        // The end of each subscription, at which its books are closed.
        let deleted = topics.delete();
        if deleted.is_err() {
            bed.halt.call();
        }
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            let panicked = |_| Err(Trouble::Failed("a subscriber panicked".to_owned()));
            thread.join().unwrap_or_else(panicked)
        };
        let readers: Vec<_> = threads.into_iter().map(join).collect();
        (passed, deleted, readers)
    });
    let (passed, deleted, readers) = ended;
    let mut books = Books::new();
    for reader in readers {
        let settled = reader.and_then(|reader| reader.settle(|topic| publisher.count(topic)));
        match settled {
            Ok(own) => books.add(&own),
            Err(Trouble::Broken(what)) => report.broken.push(what),
            Err(other) => report.failed(other),
        }
    }
    match passed {
        Ok(passed) => {
            let warm_up = names_warmed(&publisher);
            report.measured(
                publisher.total() - warm_up,
                &books,
                followers_of_each as u64 * warm_up,
                passed,
            );
        }
        Err(Trouble::Broken(what)) => report.broken.push(what),
        Err(other) => report.failed(other),
    }
    if report.broken.is_empty() && !bed.halt.is_called() {
        deleted?;
    }
    report.outcome()
}

/// The topics of one subscriber.
fn share(names: &[String], index: usize, subscribers: usize) -> Vec<&str> {
    match names {
        [one] => vec![one],
        many => many
            .iter()
            .skip(index)
            .step_by(subscribers)
            .map(String::as_str)
            .collect(),
    }
}

fn names_warmed(publisher: &Publisher) -> u64 {
    publisher.outlets.len() as u64
}

fn failed(trouble: Trouble) -> Failure {
    match trouble {
        Trouble::Broken(what) => Failure::broken(what),
        Trouble::Failed(what) => Failure::failed(what),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// One connection for all topics.
struct Publisher {
    outlets: Vec<Outlet>,
    pace: Pace,
    run: Run,
    /// The first receipt that cannot be right.
    wrong: Arc<Mutex<Option<String>>>,
}

struct Outlet {
    topic: String,
    pipeline: Pipeline,
    sent: u64,
}

impl Publisher {
    fn new(topics: &[String], pace: Pace, bed: &Bed<'_>, run: &Run) -> Publisher {
        let window = match pace {
            Pace::Window(window) => window / topics.len().max(1),
            Pace::PerSecond(_) => STEADY_WINDOW,
        };
        let wrong = Arc::new(Mutex::new(None));
        let outlet = |topic: &String| {
            let (name, wrong) = (topic.clone(), Arc::clone(&wrong));
            let pipeline = bed.client.pipeline(topic, window);
            Outlet {
                topic: topic.clone(),
                // Nobody else publishes there: the messages get the numbers they have.
                pipeline: pipeline.on_published(move |index, published| {
                    if published.seq != index + 1 {
                        let (seq, number) = (published.seq, index + 1);
                        let what = format!("{name}: message {number} was acked as event {seq}");
                        wrong.lock().get_or_insert(what);
                    }
                }),
                sent: 0,
            }
        };
        Publisher {
            outlets: topics.iter().map(outlet).collect(),
            pace,
            run: run.clone(),
            wrong,
        }
    }

    /// Messages sent, all topics together.
    fn total(&self) -> u64 {
        self.outlets.iter().map(|outlet| outlet.sent).sum()
    }

    /// Messages sent to one topic.
    fn count(&self, topic: &str) -> u64 {
        let outlet = self.outlets.iter().find(|outlet| outlet.topic == topic);
        outlet.map_or(0, |outlet| outlet.sent)
    }

    /// One message to each topic, before the clock runs.
    fn warm_up(&mut self) -> Result<(), Trouble> {
        for outlet in &mut self.outlets {
            if self.run.halt.is_called() {
                return Ok(());
            }
            let message = self.run.press.untimed(outlet.sent + 1);
            outlet.pipeline.send(&message).map_err(trouble)?;
            outlet.sent += 1;
        }
        self.settle()
    }

    /// Publishes to one topic after the other, until time is up, and waits for the receipts.
    fn publish(&mut self, duration: Duration, progress: &Progress) -> Result<(), Trouble> {
        let start = Instant::now();
        let (mut sent, count) = (0_u64, self.outlets.len() as u64);
        while start.elapsed() < duration && !self.run.halt.is_called() {
            if let Pace::PerSecond(rate) = self.pace {
                let due = Duration::try_from_secs_f64(sent as f64 / rate).unwrap_or(duration);
                thread::sleep(due.min(duration).saturating_sub(start.elapsed()));
                if due >= duration {
                    break;
                }
            }
            let outlet = &mut self.outlets[(sent % count) as usize];
            let message = self.run.press.timed(outlet.sent + 1);
            outlet.pipeline.send(&message).map_err(trouble)?;
            outlet.sent += 1;
            sent += 1;
            if sent.is_multiple_of(64) {
                progress.set_time(start.elapsed());
            }
        }
        self.settle()
    }

    fn settle(&mut self) -> Result<(), Trouble> {
        for outlet in &mut self.outlets {
            if self.run.halt.is_called() {
                return Ok(());
            }
            outlet.pipeline.flush().map_err(trouble)?;
        }
        match self.wrong.lock().take() {
            Some(what) => Err(Trouble::Broken(what)),
            None => Ok(()),
        }
    }
}
