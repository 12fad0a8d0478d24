//! `threadcast topics`: lists, creates, shows, changes and deletes topics, and lists the subscribers of one.

use clap::{Args, Subcommand};
use serde_json::json;
use threadcast::client::{Client, TopicOptions, TopicState};
use threadcast::config::{OverflowPolicy, ranges};

use super::error::CliError;
use super::output::{notice, print, print_json};
use super::printable;
use super::server_args::ServerArgs;
use super::settings::overflow;
use super::value::{self, Seconds};

const EXAMPLES: &str = "Examples:
  threadcast topics                                   topics and their subscribers
  threadcast topics list 'shop.*'                     those that match
  threadcast topics create orders --history-size 1000
  threadcast topics create orders --if-missing        no error if it exists
  threadcast topics set orders --history-ttl-secs 3600 --idle-secs 86400
  threadcast topics show orders
  threadcast topics subscribers orders                who is subscribed, and since when
  threadcast topics delete orders

Exit codes: 0 done, 1 the server is unreachable or refused, 2 invalid command line.";

/// Which action on which topic.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Topics {
    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// Print each topic and, after a tab, its number of subscriptions (the default action)
    #[command(after_help = EXAMPLES)]
    List {
        /// Only topics that match, such as 'shop.*'; each * stands for any characters
        pattern: Option<String>,
        /// Print JSON, an object per line
        #[arg(long)]
        json: bool,
    },
    /// Create a topic
    #[command(after_help = EXAMPLES)]
    Create {
        /// Name of the topic
        name: String,
        /// Leave a topic that exists as it is, without an error
        #[arg(long)]
        if_missing: bool,
        #[command(flatten)]
        options: Options,
    },
    /// Change settings of a topic, and print its state, as JSON
    #[command(after_help = EXAMPLES)]
    Set {
        /// Name of the topic
        name: String,
        #[command(flatten)]
        options: Options,
    },
    /// Delete a topic; its subscribers are notified
    #[command(after_help = EXAMPLES)]
    Delete {
        /// Name of the topic
        name: String,
    },
    /// Print the state of a topic, as JSON
    #[command(after_help = EXAMPLES)]
    Show {
        /// Name of the topic
        name: String,
    },
    /// Print each subscriber of a topic and, after a tab, when it subscribed
    #[command(after_help = EXAMPLES)]
    Subscribers {
        /// Name of the topic
        name: String,
        /// Print at most this many, the first by client id
        #[arg(long, value_name = "N", default_value_t = 1000)]
        #[arg(value_parser = value::number(1..=100_000_u64))]
        limit: u64,
        /// Print JSON, an object per line
        #[arg(long)]
        json: bool,
    },
}

/// Settings of a topic. One that is not given is that of the server for a new topic, and stays as it is for another one.
#[derive(Debug, Clone, Args)]
struct Options {
    /// Events kept for replay
    #[arg(long, value_name = "EVENTS", value_parser = value::number(ranges::HISTORY_SIZE))]
    history_size: Option<usize>,

    /// Undelivered events a subscription may have
    #[arg(long, value_name = "EVENTS", value_parser = value::number(ranges::MAX_QUEUE_SIZE))]
    max_queue_size: Option<usize>,

    /// What happens when a subscription exceeds that
    #[arg(long, value_name = "POLICY", value_parser = overflow())]
    overflow: Option<OverflowPolicy>,

    /// Age above which an event leaves the history; 0 is never
    #[arg(long, value_name = "SECONDS", value_parser = value::seconds(ranges::HISTORY_TTL))]
    history_ttl_secs: Option<Seconds>,

    /// Time without a subscription and a publish after which the topic is deleted; 0 is never
    #[arg(long, value_name = "SECONDS", value_parser = value::seconds(ranges::TOPIC_IDLE))]
    idle_secs: Option<Seconds>,
}

impl Options {
    fn of_client(&self) -> TopicOptions {
        TopicOptions {
            history_size: self.history_size,
            max_queue_size: self.max_queue_size,
            overflow: self.overflow,
            history_ttl: self.history_ttl_secs.map(|time| time.0),
            idle: self.idle_secs.map(|time| time.0),
        }
    }
}

/// Runs the action.
pub(super) fn run(topics: Topics) -> Result<(), CliError> {
    let client = topics.server.connect()?;
    match topics.action.unwrap_or(Action::List {
        pattern: None,
        json: false,
    }) {
        Action::List { pattern, json } => list(&client, pattern.as_deref(), json),
        Action::Create {
            name,
            if_missing,
            options,
        } => {
            let options = options.of_client();
            let created = match if_missing {
                true => client.create_topic_if_missing(&name, &options).map(drop),
                false => client.create_topic_with(&name, &options),
            };
            created.map_err(CliError::from)
        }
        Action::Set { name, options } => {
            let options = options.of_client();
            if options == TopicOptions::default() {
                return Err(CliError::usage("topics set: give at least one setting"));
            }
            print_state(&client.change_topic(&name, &options)?)
        }
        Action::Delete { name } => client.delete_topic(&name).map_err(CliError::from),
        Action::Show { name } => print_state(&client.topic(&name)?),
        Action::Subscribers { name, limit, json } => subscribers(&client, &name, limit, json),
    }
}

fn print_state(state: &TopicState) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(state).map_err(CliError::failed)?;
    print_json(&text).map(drop)
}

fn list(client: &Client, pattern: Option<&str>, as_json: bool) -> Result<(), CliError> {
    let topics = match pattern {
        Some(pattern) => client.topics_matching(pattern)?,
        None => client.topics()?,
    };
    for topic in topics {
        let is_open = match as_json {
            true => {
                let line = json!({"name": topic.name, "subscribers": topic.subscribers});
                print_json(&line.to_string())
            }
            false => {
                let name = printable::text(&topic.name);
                print(format_args!("{name}\t{}", topic.subscribers))
            }
        };
        if !is_open? {
            break;
        }
    }
    Ok(())
}

fn subscribers(client: &Client, name: &str, limit: u64, as_json: bool) -> Result<(), CliError> {
    let list = client.subscribers(name, limit)?;
    for subscriber in &list.subscribers {
        let is_open = match as_json {
            true => print_json(&serde_json::to_string(subscriber).map_err(CliError::failed)?),
            false => {
                let [client_id, since] = [&subscriber.client_id, &subscriber.since];
                let client_id = printable::text(client_id);
                print(format_args!("{client_id}\t{}", printable::text(since)))
            }
        };
        if !is_open? {
            return Ok(());
        }
    }
    let left_out = list.total.saturating_sub(list.subscribers.len() as u64);
    if left_out > 0 {
        notice(&format!(
            "… and {left_out} more: --limit prints up to 100000"
        ));
    }
    Ok(())
}
