//! One publisher and its subscribers, each a thread: topics are filled for a while, and every event is checked.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use threadcast::client::Pipeline;

use super::Bed;
use super::meter::Passed;
use super::progress::Progress;
use super::reader::{Books, Reader, Run, Trouble, heeded, joined, trouble};
use super::report::SceneReport;
use super::topics::Topics;
use crate::cli::error::CliError;

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
) -> Result<SceneReport, CliError> {
    let mut report = SceneReport::new(scene, topics, subscribers);
    let topics = Topics::make(bed, scene, topics)?;
    let run = Run::new(bed.payload_bytes, bed.halt);
    let readers = match open(topics.names(), subscribers, bed, &run) {
        Ok(readers) if !bed.halt.is_called() => readers,
        Ok(_) => return report.outcome(),
        Err(trouble) => {
            report.failed(trouble);
            return report.outcome();
        }
    };
    let followers = if topics.names().len() == 1 {
        subscribers
    } else {
        1
    };
    let mut publisher = Publisher::new(topics.names(), pace, bed, &run);
    let (passed, deleted, readers) = thread::scope(|scope| {
        let read = |mut reader: Reader| {
            scope.spawn(move || heeded(reader.read_to_the_end().map(|()| reader), bed.halt))
        };
        let threads: Vec<_> = readers.into_iter().map(read).collect();
        let passed = publisher.work(
            followers as u64,
            bed,
            &Progress::of(scene, millis(bed.duration)),
        );
        let passed = heeded(passed, bed.halt);
        // The end of each subscription, at which its books are closed.
        let deleted = topics.delete();
        if deleted.is_err() {
            bed.halt.call();
        }
        let readers: Vec<_> = threads.into_iter().map(joined).collect();
        (passed, deleted, readers)
    });
    let mut books = Books::new();
    for reader in readers {
        match reader.and_then(|reader| reader.settle(|topic| publisher.count(topic))) {
            Ok(own) => books.add(&own),
            Err(trouble) => report.failed(trouble),
        }
    }
    match passed {
        Ok(passed) => {
            let untimed = publisher.outlets.len() as u64;
            let published = publisher.total().saturating_sub(untimed);
            report.measured(published, &books, untimed * followers as u64, passed);
        }
        Err(trouble) => report.failed(trouble),
    }
    if !bed.halt.is_called() {
        deleted?;
    }
    report.outcome()
}

fn open(
    topics: &[String],
    subscribers: usize,
    bed: &Bed<'_>,
    run: &Run,
) -> Result<Vec<Reader>, Trouble> {
    (0..subscribers)
        .take_while(|_| !bed.halt.is_called())
        .map(|index| Reader::open(bed.client, &share(topics, index, subscribers), run))
        .collect()
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

    /// Publishes as long as it is to, and waits until everyone has it all.
    fn work(
        &mut self,
        followers: u64,
        bed: &Bed<'_>,
        progress: &Progress,
    ) -> Result<Passed, Trouble> {
        self.warm_up()?;
        self.run.wait_for(self.total() * followers);
        let start = bed.meter.read();
        self.publish(bed.duration, progress)?;
        self.run.wait_for(self.total() * followers);
        Ok(bed.meter.since(start))
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
