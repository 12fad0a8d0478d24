//! The log lines about slow consumers.

use crate::broker::Subscription;
use crate::limited_log::{LimitedLog, limited};

pub(crate) struct SlowConsumerLog(LimitedLog);

impl Default for SlowConsumerLog {
    fn default() -> SlowConsumerLog {
        SlowConsumerLog(LimitedLog::new("slow consumers"))
    }
}

impl SlowConsumerLog {
    pub(super) fn dropped(&self, connection: u64, subscription: &Subscription, events: u64) {
        let (topic, client_id) = (subscription.topic().name(), subscription.client_id());
        limited!(
            self.0,
            warn,
            "slow consumer: events dropped",
            connection,
            %topic,
            client_id = client_id.as_str(),
            events
        );
    }

    pub(super) fn disconnected(&self, connection: u64, subscription: &Subscription) {
        let (topic, client_id) = (subscription.topic().name(), subscription.client_id());
        limited!(
            self.0,
            warn,
            "slow consumer: disconnected",
            connection,
            %topic,
            client_id = client_id.as_str()
        );
    }
}
