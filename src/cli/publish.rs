//! `threadcast pub`: one message, one message again and again, or one for each line of standard input.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use parking_lot::Mutex;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use threadcast::client::{self, Error, Pipeline, Published};

use super::failure::Failure;
use super::output;
use super::reach::{Reach, failure};
use super::value;

/// Messages in flight at once.
const WINDOW: usize = 64;

const EXAMPLES: &str = "Examples:
  threadcast pub orders '{\"order_id\":\"ORD-1\",\"amount\":99.5}'
  threadcast pub orders --text 'not JSON, but text'
  generate | threadcast pub orders                    one JSON text per line
  threadcast pub ticks '1' --count 1000 --rate 50     the same, 50 times a second

Exit codes: 0 all of it is in the topic, 1 something is not, or a receipt that was asked for could not be
written, 2 the command line is wrong.";

/// What is published, and how often.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Publish {
    /// The topic; it must exist
    topic: String,

    /// What to publish, as JSON; `-` or nothing: each line of standard input is one message
    payload: Option<String>,

    /// Take what is published as text, not as JSON
    #[arg(long)]
    text: bool,

    /// Publish PAYLOAD so many times
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = value::number(1..=u64::MAX))]
    count: u64,

    /// Publish so many messages a second at most
    #[arg(long, value_name = "R", value_parser = value::rate())]
    rate: Option<f64>,

    /// Print the number that each message got
    #[arg(long, short)]
    verbose: bool,

    /// Print a receipt for each message, as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    reach: Reach,
}

/// Publishes up to the first message that is known not to be in the topic. What is under way by then is waited for, and
/// each that failed is told.
pub(super) fn run(publish: &Publish) -> Result<(), Failure> {
    let given = match publish.payload.as_deref() {
        None | Some("-") => None,
        Some(text) => Some(publish.payload_of(text).map_err(Failure::usage)?),
    };
    if given.is_none() && publish.count != 1 {
        return Err(Failure::usage("--count: needs a PAYLOAD to repeat"));
    }
    let client = publish.reach.connect()?;
    let unwritten = Unwritten::default();
    let pipeline = client.pipeline(&publish.topic, WINDOW);
    let mut outlet = Outlet {
        pipeline: publish.told(pipeline, Arc::clone(&unwritten)),
        unwritten,
        pace: publish.rate.map(Pace::new),
        names: match (&given, publish.count) {
            (None, _) => Names::Lines(VecDeque::new()),
            (Some(_), 1) => Names::One,
            (Some(_), _) => Names::Numbers,
        },
    };
    let sent = match given {
        Some(payload) => (0..publish.count).try_for_each(|_| outlet.send(&payload, 0)),
        None => publish.lines(&mut outlet),
    };
    outlet.finish(sent)
}

impl Publish {
    fn payload_of(&self, text: &str) -> Result<Box<RawValue>, String> {
        let payload = match self.text {
            true => to_raw_value(text),
            false => serde_json::from_str(text),
        };
        payload.map_err(|error| format!("PAYLOAD: not JSON ({error}); --text takes it as text"))
    }

    /// Before it waits for another line, everything before that line is in the topic.
    fn lines(&self, outlet: &mut Outlet) -> Result<(), Failure> {
        let mut input = BufReader::new(io::stdin().lock());
        let mut line = String::new();
        for number in 1_u64.. {
            if input.buffer().is_empty() {
                outlet.flush()?;
            }
            line.clear();
            let read = input.read_line(&mut line);
            let read = read.map_err(|error| Failure::failed(format!("line {number}: {error}")))?;
            if read == 0 {
                break;
            }
            let text = line.trim_end_matches(['\n', '\r']);
            if text.trim().is_empty() {
                continue;
            }
            let payload = self.payload_of(text);
            let payload =
                payload.map_err(|why| Failure::failed(format!("line {number}: {why}")))?;
            outlet.send(&payload, number)?;
        }
        Ok(())
    }

    /// The pipeline, with what is to be printed.
    fn told(&self, pipeline: Pipeline, unwritten: Unwritten) -> Pipeline {
        let topic = self.topic.clone();
        let receipt = move |published: &Published| {
            json!({"topic": topic, "seq": published.seq, "id": published.id, "ts": published.ts})
                .to_string()
        };
        // Whoever closed standard output does not want to know. The messages are published all the same.
        let print = move |line: String| {
            if let Err(failure) = output::print_json(&line) {
                unwritten.lock().get_or_insert(failure);
            }
        };
        match (self.json, self.verbose) {
            (true, _) => pipeline.on_published(move |_, published| print(receipt(published))),
            (_, true) => {
                pipeline.on_published(move |_, published| print(published.seq.to_string()))
            }
            _ => pipeline,
        }
    }
}

/// Why the first receipt that could not be written could not.
type Unwritten = Arc<Mutex<Option<Failure>>>;

struct Outlet {
    pipeline: Pipeline,
    unwritten: Unwritten,
    pace: Option<Pace>,
    names: Names,
}

/// What a message is called when it fails.
enum Names {
    /// There is only one.
    One,
    Numbers,
    /// By its line; of the messages that may still fail, their indices and lines.
    Lines(VecDeque<(u64, u64)>),
}

impl Outlet {
    fn send(&mut self, payload: &RawValue, line: u64) -> Result<(), Failure> {
        if self.pace.is_some() {
            // What was sent is told before the pause, not after it.
            self.flush()?;
        }
        if let Some(pace) = &mut self.pace {
            pace.wait();
        }
        let index = self.pipeline.send(payload).map_err(|error| match error {
            Error::Pipeline { .. } | Error::Invalid { .. } => self.names.failed(error),
            error if line > 0 => Failure::failed(format!("line {line}: {error}")),
            error => failure(error),
        })?;
        if let Names::Lines(lines) = &mut self.names {
            lines.push_back((index, line));
            // As many as are in flight, and those whose failure was not told yet.
            if lines.len() > 2 * WINDOW {
                lines.pop_front();
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let flushed = self.pipeline.flush();
        flushed.map_err(|error| self.names.failed(error))
    }

    /// Whatever ended the sending, what was sent before it is not given up.
    fn finish(self, sent: Result<(), Failure>) -> Result<(), Failure> {
        let finished = self.pipeline.finish();
        let finished = finished.map_err(|error| self.names.failed(error));
        let failures = [finished.err(), sent.err(), self.unwritten.lock().take()];
        let failure = failures.into_iter().flatten().reduce(Failure::and);
        failure.map_or(Ok(()), Err)
    }
}

impl Names {
    fn failed(&self, error: Error) -> Failure {
        let Error::Pipeline { failed } = error else {
            return failure(error);
        };
        let told = failed.iter().map(|failed| self.told(failed));
        Failure::failures(&told.collect::<Vec<_>>())
    }

    fn told(&self, failed: &client::FailedMessage) -> String {
        let line_of = |lines: &VecDeque<(u64, u64)>| {
            let found = lines.iter().find(|(index, _)| *index == failed.index);
            found.map(|(_, line)| *line)
        };
        match self {
            Names::One => failed.error.to_string(),
            Names::Lines(lines) => match line_of(lines) {
                Some(line) => format!("line {line}: {}", failed.error),
                None => failed.error.to_string(),
            },
            Names::Numbers => format!("message {}: {}", failed.index + 1, failed.error),
        }
    }
}

/// So many a second: time in which nothing came to be sent is not made up for.
struct Pace {
    interval: Duration,
    due: Instant,
}

/// What a sleep that was too long may be made up for.
const SLACK: Duration = Duration::from_millis(50);

impl Pace {
    fn new(rate: f64) -> Pace {
        let interval = Duration::try_from_secs_f64(rate.recip());
        Pace {
            interval: interval.unwrap_or(Duration::MAX),
            due: Instant::now(),
        }
    }

    fn wait(&mut self) {
        let now = Instant::now();
        thread::sleep(self.due.saturating_duration_since(now));
        let earliest = now.checked_sub(SLACK).unwrap_or(now);
        let next = self.due.max(earliest).checked_add(self.interval);
        // Beyond what the clock can say is never.
        self.due = next.unwrap_or_else(|| now + FOR_EVER);
    }
}

const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_nothing_came_is_not_made_up_for() {
        let began = Instant::now();
        let mut pace = Pace {
            interval: Duration::from_millis(30),
            due: began.checked_sub(Duration::from_secs(10)).unwrap(),
        };
        (0..5).for_each(|_| pace.wait());
        // Two may go at once for the slack, the others wait for their turn.
        assert!(
            began.elapsed() >= Duration::from_millis(60),
            "{:?}",
            began.elapsed()
        );
    }
}
