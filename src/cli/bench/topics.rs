//! The topics of a measurement: names that nobody else has, and gone at the end, however it ends.

use threadcast::client::{Client, Error, TopicOptions};
use threadcast::config::OverflowPolicy;
use uuid::Uuid;

use super::Bed;
use crate::cli::error::CliError;

/// Undelivered events that a subscriber may have: more than the windows, so that the sockets are kept busy.
const MAX_QUEUE_SIZE: usize = 1000;

/// Topics that were made. Dropped, they are deleted.
#[derive(Debug)]
pub(super) struct Topics {
    client: Client,
    names: Vec<String>,
}

impl Topics {
    pub(super) fn make(bed: &Bed<'_>, scene: &str, count: usize) -> Result<Topics, CliError> {
        let run = Uuid::new_v4().simple().to_string();
        let mut topics = Topics {
            client: bed.client.clone(),
            names: Vec::new(),
        };
        let options = options(bed.overflow);
        for number in 1..=count {
            if bed.halt.is_called() {
                break;
            }
            let name = format!("bench-{}-{scene}-{number}", &run[..12]);
            bed.client.create_topic_with(&name, &options)?;
            topics.names.push(name);
        }
        Ok(topics)
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Deletes them. To each subscriber that is the end of a topic: whatever was published stands before it.
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
        // Something else has failed, which is what will be told.
        let _ = self.delete_all();
    }
}

/// A history would only cost memory.
fn options(overflow: OverflowPolicy) -> TopicOptions {
    TopicOptions {
        history_size: None,
        max_queue_size: Some(MAX_QUEUE_SIZE),
        overflow: Some(overflow),
    }
}
