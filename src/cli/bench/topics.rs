//! The topics of a scene: they have names of their own, and are deleted at its end, however it ends.

use threadcast::client::{Client, Error, TopicOptions};
use threadcast::config::OverflowPolicy;
use uuid::Uuid;

use super::Setup;
use crate::cli::error::CliError;

/// More than the default window, so that the sockets are kept busy.
const MAX_QUEUE_SIZE: usize = 1000;

/// Created topics. Deleted when dropped.
#[derive(Debug)]
pub(super) struct Topics {
    client: Client,
    names: Vec<String>,
}

impl Topics {
    pub(super) fn create(setup: &Setup<'_>, scene: &str, count: usize) -> Result<Topics, CliError> {
        let run = Uuid::new_v4().simple().to_string();
        let mut topics = Topics {
            client: setup.client.clone(),
            names: Vec::new(),
        };
        let options = options(setup.overflow);
        for number in 1..=count {
            if setup.cancel.is_cancelled() {
                break;
            }
            let name = format!("bench-{}-{scene}-{number}", &run[..12]);
            setup
                .client
                .create_topic_with(&name, &options)
                .map_err(CliError::from)?;
            topics.names.push(name);
        }
        Ok(topics)
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Deletes them. Each subscriber gets the end of a topic behind its last event.
    pub(super) fn delete(mut self) -> Result<(), CliError> {
        self.delete_all().map_err(CliError::from)
    }

    fn delete_all(&mut self) -> Result<(), Error> {
        let mut outcome = Ok(());
        for name in std::mem::take(&mut self.names) {
            outcome = outcome.and(self.client.delete_topic(&name));
        }
        outcome
    }
}

impl Drop for Topics {
    fn drop(&mut self) {
        // Another failure has ended the scene, and is reported.
        let _ = self.delete_all();
    }
}

/// A history would only cost memory.
fn options(overflow: OverflowPolicy) -> TopicOptions {
    TopicOptions {
        max_queue_size: Some(MAX_QUEUE_SIZE),
        overflow: Some(overflow),
        ..TopicOptions::default()
    }
}
