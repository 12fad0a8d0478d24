//! The log lines about slow consumers: one a second at most, with how many were held back.

use std::time::{Duration, Instant};

use crate::broker::Subscription;
use crate::sync::Mutex;

const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct SlowConsumerLog {
    /// When the last line was written, and how many were held back since. Held for the comparison alone.
    last: Mutex<(Option<Instant>, u64)>,
}

impl SlowConsumerLog {
    pub(super) fn dropped(&self, connection: u64, subscription: &Subscription, events: u64) {
        if let Some(held_back) = self.may_write() {
            let (topic, client_id) = (subscription.topic().name(), subscription.client_id());
            tracing::warn!(connection, %topic, client_id = client_id.as_str(), events, held_back,
                "slow consumer: events dropped");
        }
    }

    pub(super) fn disconnected(&self, connection: u64, subscription: &Subscription) {
        if let Some(held_back) = self.may_write() {
            let (topic, client_id) = (subscription.topic().name(), subscription.client_id());
            tracing::warn!(connection, %topic, client_id = client_id.as_str(), held_back,
                "slow consumer: disconnected");
        }
    }

    fn may_write(&self) -> Option<u64> {
        let mut last = self.last.lock();
        if last.0.is_some_and(|at| at.elapsed() < INTERVAL) {
            last.1 += 1;
            return None;
        }
        last.0 = Some(Instant::now());
        Some(std::mem::take(&mut last.1))
    }
}
