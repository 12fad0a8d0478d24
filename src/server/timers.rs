//! The threads that wait until a topic is due: `expiry` deletes idle topics and frees the memory of events that are older than
//! their topic keeps them; `presence` lets watchers hear who came and left.

use std::io;

use super::panics::Panics;
use crate::broker::Broker;
use crate::sync::Arc;
use crate::sync::thread::{self, JoinHandle};

const STACK_BYTES: usize = 128 << 10;

/// The threads sleep until a topic is due. Dropping this ends them.
pub(super) struct Timers {
    broker: Arc<Broker>,
    threads: Vec<JoinHandle<()>>,
}

impl Timers {
    pub(super) fn start(broker: &Arc<Broker>, panics: &Panics) -> io::Result<Timers> {
        let mut timers = Timers {
            broker: Arc::clone(broker),
            threads: Vec::new(),
        };
        timers.spawn("expiry", panics, Broker::expire_until_drained)?;
        timers.spawn("presence", panics, Broker::send_presence_until_drained)?;
        Ok(timers)
    }

    fn spawn(&mut self, name: &str, panics: &Panics, run: fn(&Broker)) -> io::Result<()> {
        let (broker, panics) = (Arc::clone(&self.broker), panics.clone());
        // After a panic it goes on with the next topic.
        let run = move || while panics.catch(|| run(&broker)).is_none() {};
        let builder = thread::Builder::new().name(name.to_owned());
        let thread = builder.stack_size(STACK_BYTES).spawn(run)?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Timers {
    fn drop(&mut self) {
        self.broker.stop_waiting_for_topics();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
