//! The publisher of a scene: fills its topics in turn over one connection, and checks every acknowledgement.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use threadcast::client::Pipeline;
use threadcast::load::{PayloadTemplate, Stamp, Usage, measure};

use super::Setup;
use super::progress::Progress;
use super::reader::{Problem, Shared, UNTIMED};

/// Messages in flight at a steady rate: a bound that is not expected to be reached.
const STEADY_WINDOW: usize = 64;

/// How the publisher sends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// As fast as this number of messages in flight allows.
    Window(usize),
    /// This number per second.
    PerSecond(f64),
    /// This number, each after every subscriber has the previous one.
    Broadcasts(u64),
}

/// One connection for all topics.
pub(super) struct Publisher<'a> {
    setup: &'a Setup<'a>,
    pipelines: Vec<TopicPipeline>,
    pace: Pace,
    shared: Shared,
    payload: PayloadTemplate,
    /// Subscribers of each topic.
    followers: u64,
    /// The first acknowledgement that is wrong.
    wrong_ack: Arc<Mutex<Option<String>>>,
}

/// A topic, and what was sent to it.
struct TopicPipeline {
    topic: String,
    pipeline: Pipeline,
    sent: u64,
}

impl<'a> Publisher<'a> {
    pub(super) fn new(
        topics: &[String],
        followers: u64,
        pace: Pace,
        setup: &'a Setup<'_>,
        shared: &Shared,
    ) -> Publisher<'a> {
        let window = match pace {
            Pace::Window(window) => window / topics.len().max(1),
            Pace::PerSecond(_) | Pace::Broadcasts(_) => STEADY_WINDOW,
        };
        let wrong_ack = Arc::new(Mutex::new(None));
        let pipeline = |topic: &String| {
            let (name, wrong_ack) = (topic.clone(), Arc::clone(&wrong_ack));
            let pipeline = setup.client.pipeline(topic, window);
            TopicPipeline {
                topic: topic.clone(),
                // Nobody else publishes there: the server's numbers are those of the messages.
                pipeline: pipeline.on_published(move |index, published| {
                    if published.seq != index + 1 {
                        let (seq, number) = (published.seq, index + 1);
                        let what = format!("{name}: message {number} was acked as event {seq}");
                        wrong_ack.lock().get_or_insert(what);
                    }
                }),
                sent: 0,
            }
        };
        Publisher {
            pipelines: topics.iter().map(pipeline).collect(),
            setup,
            pace,
            shared: shared.clone(),
            payload: PayloadTemplate::new(setup.payload_bytes),
            followers,
            wrong_ack,
        }
    }

    /// Publishes at its pace until the time is over, and waits until every subscriber has everything. One message to each topic
    /// goes before the clocks run.
    pub(super) fn run(&mut self, progress: &Progress) -> Result<Usage, Problem> {
        for index in 0..self.pipelines.len() {
            if self.shared.cancel.is_cancelled() {
                break;
            }
            self.send(index, UNTIMED)?;
        }
        self.await_acks()?;
        self.shared.wait_for(self.sent() * self.followers);
        let (published, usage) = measure(self.setup.server, || {
            match self.pace {
                Pace::Broadcasts(count) => self.broadcast(count)?,
                Pace::Window(_) | Pace::PerSecond(_) => self.fill(progress)?,
            }
            self.shared.wait_for(self.sent() * self.followers);
            Ok(())
        });
        published.map(|()| usage)
    }

    /// Messages sent, all topics together.
    pub(super) fn sent(&self) -> u64 {
        self.pipelines.iter().map(|pipeline| pipeline.sent).sum()
    }

    /// Messages sent to each topic.
    pub(super) fn sent_by_topic(&self) -> HashMap<&str, u64> {
        let pipelines = self.pipelines.iter();
        pipelines
            .map(|pipeline| (pipeline.topic.as_str(), pipeline.sent))
            .collect()
    }

    fn send(&mut self, index: usize, sent_nanos: u64) -> Result<(), Problem> {
        let pipeline = &mut self.pipelines[index];
        let number = pipeline.sent + 1;
        let stamp = Stamp { number, sent_nanos };
        pipeline.pipeline.send(self.payload.stamped(stamp))?;
        pipeline.sent = number;
        Ok(())
    }

    fn broadcast(&mut self, count: u64) -> Result<(), Problem> {
        for _ in 0..count {
            if self.shared.cancel.is_cancelled() {
                break;
            }
            self.send(0, self.shared.now())?;
            self.await_acks()?;
            self.shared.wait_for(self.sent() * self.followers);
        }
        Ok(())
    }

    fn fill(&mut self, progress: &Progress) -> Result<(), Problem> {
        let (duration, start) = (self.setup.duration, Instant::now());
        let (mut sent, topics) = (0_u64, self.pipelines.len() as u64);
        while start.elapsed() < duration && !self.shared.cancel.is_cancelled() {
            if let Pace::PerSecond(rate) = self.pace {
                let due = Duration::try_from_secs_f64(sent as f64 / rate).unwrap_or(duration);
                thread::sleep(due.min(duration).saturating_sub(start.elapsed()));
                if due >= duration {
                    break;
                }
            }
            self.send((sent % topics) as usize, self.shared.now())?;
            sent += 1;
            if sent.is_multiple_of(64) {
                progress.set_time(start.elapsed());
            }
        }
        self.await_acks()
    }

    fn await_acks(&mut self) -> Result<(), Problem> {
        for pipeline in &mut self.pipelines {
            if self.shared.cancel.is_cancelled() {
                return Ok(());
            }
            pipeline.pipeline.flush()?;
        }
        match self.wrong_ack.lock().take() {
            Some(what) => Err(Problem::Broken(what)),
            None => Ok(()),
        }
    }
}
