//! `threadcast sub`: prints events to standard output, gaps and notices to standard error.

use std::time::{Duration, Instant};

use clap::Args;
use threadcast::client::{
    Client, Delivery, Error, Event, PatternStart, Start, Subscriber, Subscription,
};

use super::error::CliError;
use super::output::{self, notice};
use super::server_args::ServerArgs;
use super::value::{self, After, Seconds};

/// How often to check for a closed pipe and a lost connection.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

const EXAMPLES: &str = "Examples:
  threadcast sub orders                               new events
  threadcast sub orders payments --last 10            the newest 10 events of each topic, then new ones
  threadcast sub 'shop.*'                             all topics that match, also those created later
  threadcast sub orders --after 41@9f2c61d0a7b34e18   the events after event 41
  threadcast sub orders --wait-for-topics             also if it does not exist yet
  threadcast sub orders --presence                    also who is subscribed
  threadcast sub orders -n 1 -W 5                     one event, or exit code 3 after 5 seconds
  threadcast sub orders --url ws://10.0.0.1:8080/ws,ws://10.0.0.2:8080/ws

Exit codes: 0 done, 1 the server is unreachable or refused, or all topics ended before -n events,
2 invalid command line, 3 the time of -W passed before -n events.";

/// Which topics, where to start, and when to stop.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Subscribe {
    /// Topics; they must exist, unless --wait-for-topics. Or one pattern, in quotes: each * stands for any characters
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,

    /// Start with the newest N events of each topic
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "after")]
    #[arg(value_parser = value::number(0..=u64::MAX))]
    last: u64,

    /// Start after this event (one topic only, not a pattern); the epoch detects a topic that was created again
    #[arg(long, value_name = "SEQ[@EPOCH]", value_parser = value::after())]
    after: Option<After>,

    /// The epoch for --after, if not part of it
    #[arg(long, value_name = "EPOCH", requires = "after")]
    epoch: Option<String>,

    /// Exit after N events
    #[arg(long, short = 'n', value_name = "N", value_parser = value::number(1..=u64::MAX))]
    count: Option<u64>,

    /// Exit after this time
    #[arg(long, short = 'W', value_name = "SECONDS", value_parser = value::seconds(value::WAIT))]
    wait: Option<Seconds>,

    /// Name of this subscriber, unique in each topic [default: random]
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,

    /// Wait for topics that do not exist yet, and begin with their first event
    #[arg(long)]
    wait_for_topics: bool,

    /// Report who is subscribed to each topic, and who comes and goes
    #[arg(long)]
    presence: bool,

    #[command(flatten)]
    server: ServerArgs,
}

/// Prints events until the subscription ends, a limit is reached, or standard output is closed.
pub(super) fn run(subscribe: &Subscribe) -> Result<(), CliError> {
    let start = subscribe.start()?;
    subscribe.check_pattern()?;
    let client = subscribe
        .server
        .connect_with(|client| client.wait_for_topics(subscribe.wait_for_topics))?;
    let subscriber = subscribe.topics_of(&client, &start);
    let mut subscriber = subscriber.presence(subscribe.presence);
    if let Some(id) = &subscribe.client_id {
        subscriber = subscriber.client_id(id);
    }
    follow(subscribe, &mut subscriber.open()?)
}

impl Subscribe {
    fn has_pattern(&self) -> bool {
        self.topics.iter().any(|topic| topic.contains('*'))
    }

    fn check_pattern(&self) -> Result<(), CliError> {
        match self.has_pattern() && self.topics.len() > 1 {
            true => Err(CliError::usage("a pattern: without another topic")),
            false => Ok(()),
        }
    }

    fn topics_of(&self, client: &Client, start: &Start) -> Subscriber {
        let subscriber = client.subscriber();
        match self.topics.first() {
            Some(pattern) if self.has_pattern() => {
                subscriber.pattern(pattern, PatternStart::Last(self.last))
            }
            _ => self.topics.iter().fold(subscriber, |subscriber, topic| {
                subscriber.topic(topic, start.clone())
            }),
        }
    }

    fn start(&self) -> Result<Start, CliError> {
        let Some(after) = &self.after else {
            return Ok(Start::Last(self.last));
        };
        if self.topics.len() > 1 || self.has_pattern() {
            return Err(CliError::usage("--after: only for a single topic"));
        }
        let epoch = match (&after.epoch, &self.epoch) {
            (Some(_), Some(_)) => return Err(CliError::usage("--epoch: already given in --after")),
            (one, other) => one.as_ref().or(other.as_ref()),
        };
        Ok(Start::After {
            seq: after.seq,
            epoch: epoch.map(|epoch| epoch.as_str().into()),
        })
    }
}

/// Prints deliveries; checks the connection and the pipe at intervals.
fn follow(subscribe: &Subscribe, subscription: &mut Subscription) -> Result<(), CliError> {
    let until = subscribe
        .wait
        .and_then(|wait| Instant::now().checked_add(wait.0));
    let mut left = subscribe.count;
    let mut link = Link::of(subscription);
    while !subscription.is_over() {
        let rest = until.map_or(CHECK_INTERVAL, |until| {
            until.saturating_duration_since(Instant::now())
        });
        let delivery = subscription.recv_timeout(rest.min(CHECK_INTERVAL));
        link.follow(subscription);
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
            Ok(Some(Delivery::Topic(change))) => notice(&change.to_string()),
            Ok(Some(Delivery::Presence(presence))) => notice(&presence.to_string()),
            Ok(Some(other)) => notice(&format!("{other:?}")),
            Ok(None) if until.is_some_and(|until| until <= Instant::now()) => {
                return on_timeout(left, link.is_up);
            }
            Ok(None) if output::is_closed() => return Ok(()),
            Ok(None) => {}
            Err(ended @ Error::Ended { .. }) => notice(&ended.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    match left {
        None => Ok(()),
        Some(left) => Err(CliError::failed(format!(
            "all topics have ended, {left} events are missing"
        ))),
    }
}

/// What the user knows of the connection.
struct Link {
    is_up: bool,
    server: String,
}

impl Link {
    fn of(subscription: &Subscription) -> Link {
        Link {
            is_up: true,
            server: subscription.server(),
        }
    }

    /// Reports a change. A connection to another server may be open before the loss of the old one was reported.
    fn follow(&mut self, subscription: &Subscription) {
        let is_up = subscription.is_connected();
        let has_moved = is_up && subscription.server() != self.server;
        if subscription.is_over() || (is_up == self.is_up && !has_moved) {
            return;
        }
        self.is_up = is_up;
        match (is_up, has_moved) {
            (false, _) => notice("connection lost; reconnecting"),
            (true, false) => notice("reconnected"),
            (true, true) => {
                self.server = subscription.server();
                notice(&format!("reconnected to {}", self.server));
            }
        }
    }
}

/// The time of `-W` has passed: success, unless `-n` events were requested or there is no connection.
fn on_timeout(left: Option<u64>, is_connected: bool) -> Result<(), CliError> {
    match left {
        None if is_connected => Ok(()),
        None => Err(CliError::failed(
            "the time has passed, and there is no connection",
        )),
        Some(left) => Err(CliError::timed_out(format!(
            "the time has passed, {left} events are missing"
        ))),
    }
}

/// Prints one event on one line. Line breaks in JSON text can only be between tokens, so a space may replace them. `false` if
/// the pipe is closed.
fn print(event: &Event) -> Result<bool, CliError> {
    output::print_json(&event.json().replace(['\n', '\r'], " "))
}
