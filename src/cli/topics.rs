//! `threadcast topics`: lists, creates, shows and deletes topics.

use clap::{Args, Subcommand};
use serde_json::json;
use threadcast::client::{Client, TopicOptions};
use threadcast::config::{OverflowPolicy, ranges};

use super::error::CliError;
use super::output::{print, print_json};
use super::printable;
use super::server_args::ServerArgs;
use super::settings::overflow;
use super::value;

const EXAMPLES: &str = "Examples:
  threadcast topics                                   topics and their subscribers
  threadcast topics create orders --history-size 1000
  threadcast topics show orders
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
        /// Print JSON, an object per line
        #[arg(long)]
        json: bool,
    },
    /// Create a topic
    #[command(after_help = EXAMPLES)]
    Create {
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
}

/// Settings of a new topic; the default is the setting of the server.
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
}

/// Runs the action.
pub(super) fn run(topics: Topics) -> Result<(), CliError> {
    let client = topics.server.connect()?;
    match topics.action.unwrap_or(Action::List { json: false }) {
        Action::List { json } => list(&client, json),
        Action::Create { name, options } => {
            let options = TopicOptions {
                history_size: options.history_size,
                max_queue_size: options.max_queue_size,
                overflow: options.overflow,
            };
            client
                .create_topic_with(&name, &options)
                .map_err(CliError::from)
        }
        Action::Delete { name } => client.delete_topic(&name).map_err(CliError::from),
        Action::Show { name } => {
            let state = client.topic(&name)?;
            let text = serde_json::to_string_pretty(&state).map_err(CliError::failed)?;
            print_json(&text).map(drop)
        }
    }
}

fn list(client: &Client, as_json: bool) -> Result<(), CliError> {
    for topic in client.topics()? {
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
