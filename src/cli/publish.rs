//! `threadcast pub`: one message, one message again and again, or one for each line of standard input.

use std::io::{self, BufRead, BufReader, Write};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use threadcast::client::{Pipeline, Published};

use super::failure::Failure;
use super::reach::{Reach, failure};
use super::value;

/// Messages in flight at once.
const WINDOW: usize = 64;

const EXAMPLES: &str = "Examples:
  threadcast pub orders '{\"order_id\":\"ORD-1\",\"amount\":99.5}'
  threadcast pub orders --text 'not JSON, but text'
  generate | threadcast pub orders                    one JSON text per line
  threadcast pub ticks '1' --count 1000 --rate 50     the same, 50 times a second

Exit codes: 0 all of it is in the topic, 1 something is not, 2 the command line is wrong.";

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

/// Publishes, and fails with the first message that is not in the topic.
pub(super) fn run(publish: &Publish) -> Result<(), Failure> {
    let given = match publish.payload.as_deref() {
        None | Some("-") => None,
        Some(text) => Some(publish.payload_of(text).map_err(Failure::usage)?),
    };
    if given.is_none() && publish.count != 1 {
        return Err(Failure::usage("--count: needs a PAYLOAD to repeat"));
    }
    let client = publish.reach.connect()?;
    let mut outlet = Outlet {
        pipeline: publish.told(client.pipeline(&publish.topic, WINDOW)),
        pace: publish.rate.map(Pace::new),
    };
    match given {
        Some(payload) => {
            for _ in 0..publish.count {
                outlet.send(&payload)?;
            }
        }
        None => publish.lines(&mut outlet)?,
    }
    outlet.pipeline.finish().map_err(failure)?;
    Ok(())
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
                outlet.pipeline.flush().map_err(failure)?;
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
            outlet.send(&payload)?;
        }
        Ok(())
    }

    /// The pipeline, with what is to be printed.
    fn told(&self, pipeline: Pipeline) -> Pipeline {
        let topic = self.topic.clone();
        let receipt = move |published: &Published| {
            json!({"topic": topic, "seq": published.seq, "id": published.id, "ts": published.ts})
                .to_string()
        };
        // Whoever closed standard output does not want to know; the messages are published all the same.
        let print = |line: String| drop(writeln!(io::stdout(), "{line}"));
        match (self.json, self.verbose) {
            (true, _) => pipeline.on_published(move |_, published| print(receipt(published))),
            (_, true) => {
                pipeline.on_published(move |_, published| print(published.seq.to_string()))
            }
            _ => pipeline,
        }
    }
}

struct Outlet {
    pipeline: Pipeline,
    pace: Option<Pace>,
}

impl Outlet {
    fn send(&mut self, payload: &RawValue) -> Result<(), Failure> {
        if let Some(pace) = &mut self.pace {
            // What was sent is told before the pause, not after it.
            self.pipeline.flush().map_err(failure)?;
            pace.wait();
        }
        self.pipeline.send(payload).map_err(failure)?;
        Ok(())
    }
}

/// So many a second, counted from the first: a pause that was too long is made up for.
struct Pace {
    start: Instant,
    rate: f64,
    sent: u64,
}

impl Pace {
    fn new(rate: f64) -> Pace {
        Pace {
            start: Instant::now(),
            rate,
            sent: 0,
        }
    }

    fn wait(&mut self) {
        let due = Duration::try_from_secs_f64(self.sent as f64 / self.rate);
        let left = due
            .unwrap_or(Duration::MAX)
            .saturating_sub(self.start.elapsed());
        thread::sleep(left);
        self.sent += 1;
    }
}
