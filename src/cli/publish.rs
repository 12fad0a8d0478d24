//! `threadcast pub`: publishes one message, one message repeatedly, or one for each line of standard input.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use parking_lot::Mutex;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use threadcast::client::{self, Client, Error, Pipeline, Published};

use super::error::CliError;
use super::output::{self, notice};
use super::server_args::ServerArgs;
use super::value::{self, Seconds};

/// Messages in flight at once.
const WINDOW: usize = 64;
/// As long as a server may remember a message.
const MAX_WINDOW: Duration = Duration::from_secs(86_400);

const EXAMPLES: &str = "Examples:
  threadcast pub orders '{\"order_id\":\"ORD-1\",\"amount\":99.5}'
  threadcast pub orders --text 'not JSON, but text'
  generate | threadcast pub orders                    one JSON text per line
  threadcast pub ticks '1' --count 1000 --rate 50     1000 times, 50 per second

Exit codes: 0 all messages are published, 1 a message is not, or a receipt could not be printed,
2 invalid command line.";

/// What to publish, and how often.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Publish {
    /// Topic; it must exist
    topic: String,

    /// Payload as JSON; with `-` or without it, each line of standard input is one message
    payload: Option<String>,

    /// Treat payloads as text, not as JSON
    #[arg(long)]
    text: bool,

    /// Publish PAYLOAD N times
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = value::number(1..=u64::MAX))]
    count: u64,

    /// Publish at most R messages per second
    #[arg(long, value_name = "R", value_parser = value::rate())]
    rate: Option<f64>,

    /// Print the sequence number of each message
    #[arg(long, short)]
    verbose: bool,

    /// Print a receipt for each message, as JSON
    #[arg(long)]
    json: bool,

    /// Wait for a topic that does not exist yet, up to the --timeout
    #[arg(long)]
    wait_for_topic: bool,

    /// How long a message without a receipt is sent again; not longer than PUBSUB_IDEMPOTENCY_WINDOW_SECS of the server
    #[arg(long, value_name = "SECONDS", default_value = "120")]
    #[arg(value_parser = value::seconds(Duration::ZERO..=MAX_WINDOW))]
    idempotency_window: Seconds,

    #[command(flatten)]
    server: ServerArgs,
}

/// Stops at the first message that fails. Then waits for the messages in flight, and reports each one that failed.
pub(super) fn run(publish: &Publish) -> Result<(), CliError> {
    let payload = match publish.payload.as_deref() {
        None | Some("-") => None,
        Some(text) => Some(publish.payload_of(text).map_err(CliError::usage)?),
    };
    if payload.is_none() && publish.count != 1 {
        return Err(CliError::usage("--count: needs a PAYLOAD to repeat"));
    }
    let client = publish.server.connect_with(|client| {
        client
            .wait_for_topics(publish.wait_for_topic)
            .idempotency_window(publish.idempotency_window.0)
    })?;
    let receipt_error = ReceiptError::default();
    let pipeline = client.pipeline(&publish.topic, WINDOW);
    let mut sender = MessageSender {
        pipeline: publish.with_receipts(pipeline, Arc::clone(&receipt_error)),
        receipt_error,
        server: client.server(),
        client,
        pace: publish.rate.map(Pace::new),
        labels: match (&payload, publish.count) {
            (None, _) => Labels::Lines(VecDeque::new()),
            (Some(_), 1) => Labels::None,
            (Some(_), _) => Labels::Numbers,
        },
        stopped_by_failures: false,
    };
    let sent = match payload {
        Some(payload) => (0..publish.count).try_for_each(|_| sender.send(&payload, 0)),
        None => publish.send_lines(&mut sender),
    };
    sender.finish(sent)
}

impl Publish {
    fn payload_of(&self, text: &str) -> Result<Box<RawValue>, String> {
        let payload = match self.text {
            true => to_raw_value(text),
            false => serde_json::from_str(text),
        };
        payload.map_err(|error| format!("PAYLOAD: not JSON ({error}); use --text for text"))
    }

    /// Waits for the receipts of all earlier lines before it waits for input.
    fn send_lines(&self, sender: &mut MessageSender) -> Result<(), CliError> {
        let mut input = BufReader::new(io::stdin().lock());
        let mut line = String::new();
        for number in 1_u64.. {
            if input.buffer().is_empty() {
                sender.flush()?;
            }
            line.clear();
            let read = input.read_line(&mut line);
            let read = read.map_err(|error| CliError::failed(format!("line {number}: {error}")))?;
            if read == 0 {
                break;
            }
            let text = line.trim_end_matches(['\n', '\r']);
            if text.trim().is_empty() {
                continue;
            }
            let payload = self.payload_of(text);
            let payload =
                payload.map_err(|error| CliError::failed(format!("line {number}: {error}")))?;
            sender.send(&payload, number)?;
        }
        Ok(())
    }

    /// Makes the pipeline print receipts, if requested.
    fn with_receipts(&self, pipeline: Pipeline, receipt_error: ReceiptError) -> Pipeline {
        let topic = self.topic.clone();
        let receipt = move |published: &Published| {
            let mut receipt = json!({"topic": topic, "seq": published.seq, "id": published.id, "ts": published.ts});
            if published.duplicate {
                receipt["duplicate"] = json!(true);
            }
            receipt.to_string()
        };
        // A closed stdout is not an error: the messages are published anyway.
        let print = move |line: String| {
            if let Err(error) = output::print_json(&line) {
                receipt_error.lock().get_or_insert(error);
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

/// The first error of printing a receipt.
type ReceiptError = Arc<Mutex<Option<CliError>>>;

struct MessageSender {
    pipeline: Pipeline,
    receipt_error: ReceiptError,
    client: Client,
    /// The server that the user knows of.
    server: String,
    pace: Option<Pace>,
    labels: Labels,
    /// Sending stopped because earlier messages had failed; these are reported before those still in flight.
    stopped_by_failures: bool,
}

/// How error texts refer to a message.
enum Labels {
    /// There is only one message.
    None,
    Numbers,
    /// Index and line number of each message that may still fail.
    Lines(VecDeque<(u64, u64)>),
}

impl MessageSender {
    fn send(&mut self, payload: &RawValue, line: u64) -> Result<(), CliError> {
        if self.pace.is_some() {
            // Receipts and errors are printed before the pause, not after it.
            self.flush()?;
        }
        if let Some(pace) = &mut self.pace {
            pace.wait();
        }
        let sent = self.pipeline.send(payload);
        self.report_move();
        let index = sent.map_err(|error| match error {
            Error::Pipeline { .. } => {
                self.stopped_by_failures = true;
                self.labels.error(error)
            }
            Error::Invalid { .. } => self.labels.error(error),
            error if line > 0 => CliError::failed(format!("line {line}: {error}")),
            error => error.into(),
        })?;
        if let Labels::Lines(lines) = &mut self.labels {
            lines.push_back((index, line));
            // At most WINDOW are in flight, and at most WINDOW have failed without a report.
            if lines.len() > 2 * WINDOW {
                lines.pop_front();
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), CliError> {
        let flushed = self.pipeline.flush();
        self.report_move();
        flushed.map_err(|error| {
            self.stopped_by_failures = matches!(error, Error::Pipeline { .. });
            self.labels.error(error)
        })
    }

    /// Reports that messages go to another server now.
    fn report_move(&mut self) {
        let server = self.client.server();
        if server != self.server {
            notice(&format!("reconnected to {server}"));
            self.server = server;
        }
    }

    /// Waits for the messages in flight, also after an error.
    fn finish(mut self, sent: Result<(), CliError>) -> Result<(), CliError> {
        let finished = self.pipeline.flush();
        self.report_move();
        let finished = finished.map_err(|error| self.labels.error(error));
        let receipt_error = self.receipt_error.lock().take();
        let errors = match self.stopped_by_failures {
            true => [sent.err(), finished.err(), receipt_error],
            false => [finished.err(), sent.err(), receipt_error],
        };
        let error = errors.into_iter().flatten().reduce(CliError::and);
        error.map_or(Ok(()), Err)
    }
}

impl Labels {
    fn error(&self, error: Error) -> CliError {
        let Error::Pipeline { failed } = error else {
            return error.into();
        };
        let texts = failed.iter().map(|failed| self.text(failed));
        CliError::failed_all(&texts.collect::<Vec<_>>())
    }

    fn text(&self, failed: &client::FailedMessage) -> String {
        let line_of = |lines: &VecDeque<(u64, u64)>| {
            let found = lines.iter().find(|(index, _)| *index == failed.index);
            found.map(|(_, line)| *line)
        };
        match self {
            Labels::None => failed.error.to_string(),
            Labels::Lines(lines) => match line_of(lines) {
                Some(line) => format!("line {line}: {}", failed.error),
                None => failed.error.to_string(),
            },
            Labels::Numbers => format!("message {}: {}", failed.index + 1, failed.error),
        }
    }
}

/// Limits the rate. Idle time is not made up for.
struct Pace {
    interval: Duration,
    due: Instant,
}

/// How much of an overlong sleep is made up for.
const MAX_CATCH_UP: Duration = Duration::from_millis(50);

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
        let earliest = now.checked_sub(MAX_CATCH_UP).unwrap_or(now);
        let next = self.due.max(earliest).checked_add(self.interval);
        // An overflow of `Instant` means never.
        self.due = next.unwrap_or_else(|| now + NEVER);
    }
}

const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_not_made_up_for() {
        let began = Instant::now();
        let mut pace = Pace {
            interval: Duration::from_millis(30),
            due: began.checked_sub(Duration::from_secs(10)).unwrap(),
        };
        (0..5).for_each(|_| pace.wait());
        // Two may be sent at once for the catch-up, the others wait.
        assert!(
            began.elapsed() >= Duration::from_millis(60),
            "{:?}",
            began.elapsed()
        );
    }
}
