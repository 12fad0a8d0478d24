//! `threadcast sub`: events on standard output, gaps and notices on standard error.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use clap::Args;
use threadcast::client::{Delivery, Error, Event, Start, Subscription};

use super::failure::Failure;
use super::output;
use super::printable;
use super::reach::{Reach, failure};
use super::value::{self, After, Seconds};

/// How long it may go unnoticed that nobody reads, or that the server is gone.
const LOOK: Duration = Duration::from_millis(250);

const EXAMPLES: &str = "Examples:
  threadcast sub orders                               what is published from now on
  threadcast sub orders payments --last 10            the newest ten of each first
  threadcast sub orders --after 41@9f2c61d0a7b34e18   what came after event 41
  threadcast sub orders -n 1 -W 5                     one event, or exit code 3 after 5 seconds

Exit codes: 0 done, 1 the server is gone or said no, or the topics were over before the events of -n had come,
2 the command line is wrong, 3 the time of -W was over before the events of -n had come.";

/// What is followed, from where, and until when.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Subscribe {
    /// The topics; they must exist
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,

    /// Begin with the newest N events of each topic
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "after")]
    #[arg(value_parser = value::number(0..=u64::MAX))]
    last: u64,

    /// Begin behind this event of the one topic; the epoch tells a topic that was made anew
    #[arg(long, value_name = "SEQ[@EPOCH]", value_parser = value::after())]
    after: Option<After>,

    /// The epoch of --after, if it is not in there
    #[arg(long, value_name = "EPOCH", requires = "after")]
    epoch: Option<String>,

    /// End after N events
    #[arg(long, short = 'n', value_name = "N", value_parser = value::number(1..=u64::MAX))]
    count: Option<u64>,

    /// End after so many seconds
    #[arg(long, short = 'W', value_name = "SECONDS", value_parser = value::seconds(value::WAIT))]
    wait: Option<Seconds>,

    /// Name of this subscriber, unique in each topic [default: a random one]
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,

    #[command(flatten)]
    reach: Reach,
}

/// Prints until there is nothing more to print, or nobody to print it for.
pub(super) fn run(subscribe: &Subscribe) -> Result<(), Failure> {
    let start = subscribe.start()?;
    let client = subscribe.reach.connect()?;
    let mut subscriber = client.subscriber();
    for topic in &subscribe.topics {
        subscriber = subscriber.topic(topic, start.clone());
    }
    if let Some(id) = &subscribe.client_id {
        subscriber = subscriber.client_id(id);
    }
    follow(subscribe, &mut subscriber.open().map_err(failure)?)
}

impl Subscribe {
    fn start(&self) -> Result<Start, Failure> {
        let Some(after) = &self.after else {
            return Ok(Start::Last(self.last));
        };
        if self.topics.len() > 1 {
            return Err(Failure::usage("--after: is about one topic, not several"));
        }
        let epoch = match (&after.epoch, &self.epoch) {
            (Some(_), Some(_)) => return Err(Failure::usage("--epoch: is in --after already")),
            (one, other) => one.as_ref().or(other.as_ref()),
        };
        Ok(Start::After {
            seq: after.seq,
            epoch: epoch.map(|epoch| epoch.as_str().into()),
        })
    }
}

/// Between two deliveries it looks up now and then: is the server there, does somebody read?
fn follow(subscribe: &Subscribe, subscription: &mut Subscription) -> Result<(), Failure> {
    let until = subscribe
        .wait
        .and_then(|wait| Instant::now().checked_add(wait.0));
    let mut left = subscribe.count;
    let mut is_connected = true;
    while !subscription.is_over() {
        let rest = until.map_or(LOOK, |until| {
            until.saturating_duration_since(Instant::now())
        });
        let delivery = subscription.recv_timeout(rest.min(LOOK));
        if is_connected != subscription.is_connected() && !subscription.is_over() {
            is_connected = !is_connected;
            notice(match is_connected {
                true => "connected again",
                false => "the connection is lost; trying again",
            });
        }
        match delivery {
            Ok(Some(Delivery::Event(event))) => {
                if !print(&event)? {
                    return Ok(());
                }
                left = left.map(|events| events - 1);
                if left == Some(0) {
                    return Ok(());
                }
            }
            Ok(Some(Delivery::Gap(gap))) => notice(&format!("gap in {}: {gap}", gap.topic())),
            Ok(Some(other)) => notice(&format!("{other:?}")),
            Ok(None) if until.is_some_and(|until| until <= Instant::now()) => {
                return time_is_up(left, is_connected);
            }
            Ok(None) if output::is_gone() => return Ok(()),
            Ok(None) => {}
            Err(ended @ Error::Ended { .. }) => notice(&ended.to_string()),
            Err(error) => return Err(failure(error)),
        }
    }
    match left {
        None => Ok(()),
        Some(left) => Err(Failure::failed(format!(
            "the topics are over, and {left} of the events have not come"
        ))),
    }
}

/// To listen for so long and no longer is what was asked for, unless it was for so many events, or nobody was there.
fn time_is_up(left: Option<u64>, is_connected: bool) -> Result<(), Failure> {
    match left {
        None if is_connected => Ok(()),
        None => Err(Failure::failed("time is up, and the server is not there")),
        Some(left) => Err(Failure::timed_out(format!(
            "time is up, and {left} of the events have not come"
        ))),
    }
}

/// Prints one event on one line: a line break in JSON text can only stand between its tokens, so a blank may
/// replace it. `false` when nobody reads any more.
fn print(event: &Event) -> Result<bool, Failure> {
    output::print_json(&event.json().replace(['\n', '\r'], " "))
}

/// Whoever closed standard error does not want to know.
fn notice(text: &str) {
    let _ = writeln!(io::stderr(), "{}", printable::text(text));
}
