//! The mirrors of the topics of one Redis: closes those that nobody needs, and looks at those of which nothing comes.

use std::time::{Duration, Instant};

use ::redis::Cmd;

use super::Shard;
use crate::broker::Topic;
use crate::broker::engine::Unavailable;
use crate::broker::engine::redis::{
    connection::lane,
    members::presence,
    mirroring::catch_up::{After, catch_up},
    topics::records::{self, Record},
};
use crate::protocol::TopicName;
use crate::sync::{Arc, HashMap};

/// A mirror without subscribers is closed after this.
const LINGER: Duration = Duration::from_secs(10);

impl Shard {
    /// The mirrors of topics that are kept in this Redis.
    pub(in crate::broker::engine::redis) fn mirrors(&self) -> Vec<Arc<Topic>> {
        let topics = self.topics.sorted();
        let mine = topics.iter().filter(|topic| self.has(topic.name()));
        mine.cloned().collect()
    }

    /// Closes mirrors that had no subscribers for some time.
    pub(super) fn close_unused(&self) {
        let mut unused = self.unused.lock();
        let mirrors = self.mirrors();
        let is_unused = |topic: &&Arc<Topic>| topic.subscriber_count() == 0;
        let now = Instant::now();
        let found: HashMap<TopicName, Instant> = mirrors
            .iter()
            .filter(is_unused)
            .map(|topic| {
                (
                    topic.name().clone(),
                    *unused.get(topic.name()).unwrap_or(&now),
                )
            })
            .collect();
        *unused = found;
        for topic in mirrors.iter().filter(is_unused) {
            let since = unused.get(topic.name());
            if since.is_some_and(|since| since.elapsed() > LINGER) && topic.close_if_unused() {
                self.close(topic);
            }
        }
    }

    /// Removes a mirror that was closed or deleted.
    pub(in crate::broker::engine::redis) fn close(&self, topic: &Arc<Topic>) {
        if self.topics.remove(topic) {
            self.link.leave(self.keys.channel(topic.name()));
            presence::closed(self, topic.name());
        }
    }

    /// Looks whether Redis has more of those topics of which nothing came since the last look.
    pub(super) fn look_at_silent(self: &Arc<Self>) -> Result<(), Unavailable> {
        let mirrors = self.mirrors();
        let mut seen = self.seen.lock();
        let places: HashMap<TopicName, u64> = mirrors
            .iter()
            .filter_map(|topic| Some((topic.name().clone(), topic.place()?.token.0)))
            .collect();
        let before = std::mem::replace(&mut *seen, places.clone());
        drop(seen);
        let is_silent = |topic: &&Arc<Topic>| before.get(topic.name()) == places.get(topic.name());
        let silent: Vec<_> = mirrors.iter().filter(is_silent).collect();
        for some in silent.chunks(lane::MAX_COMMANDS) {
            let records = some
                .iter()
                .map(|topic| records::command(self, topic.name()));
            let commands: Vec<Cmd> = records.collect();
            for (topic, answer) in some.iter().zip(self.lane.call(&commands)?) {
                let there = Record::of(&answer).map(|record| record.place);
                if there != topic.place() {
                    catch_up(self, topic, After::Interruption)?;
                }
            }
        }
        Ok(())
    }
}
