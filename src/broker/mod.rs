//! Topics, their logs, and their subscriptions. Owns the locks over that shared state; knows no socket and no HTTP. A log
//! holds events as finished WebSocket frames, so that each event is encoded once.
//!
//! In reading order: [`log`] numbers and retains events; [`topic`] guards one log and its subscribers; a [`subscription`]
//! is one client's interest in a topic, a [`cursor`] its read position, and [`takeover`] its replacement by a newer one;
//! [`fan_out`] delivers published events to all subscribers; [`gate`] makes publishers wait while there is no room;
//! [`presence`] notes who came and left for those who watch; [`memory_budget`] keeps the totals and the
//! global memory budget; [`topic_queue`] knows which topics are due; [`registry`] finds topics by name, and [`patterns`] are joined by the topics that match them.
//!
//! Lock order: appearing → patterns, outbox, registry; registry → memory budget, topic; outbox → topic; gate → topic. No lock is taken under a topic's lock.

mod chunk;
mod cursor;
mod cursors;
mod engine;
mod epoch;
mod fan_out;
mod gate;
mod history;
mod last_time;
mod local_topics;
mod log;
mod memory_budget;
mod mirror;
mod patterns;
mod presence;
mod registry;
mod subscribers;
mod subscription;
mod takeover;
mod topic;
mod topic_queue;

pub(crate) use chunk::{Chunk, ReadBatch};
pub(crate) use cursor::Progress;
pub(crate) use cursors::Cursors;
pub(crate) use engine::{Engine, redis};
pub(crate) use fan_out::{FanOut, MAX_ROUNDS};
pub(crate) use history::{HistoryError, HistoryPage};
pub(crate) use last_time::LastTime;
pub(crate) use log::SharedFrame;
pub(crate) use mirror::Batch;
pub(crate) use patterns::{BegunPattern, PatternSubscription};
pub(crate) use presence::PresenceList;
pub use registry::TopicOptions;
pub(crate) use registry::{
    Broker, Caller, ChangeError, CreateError, Joined, StatsList, TopicError, TopicList,
};
#[cfg(test)]
pub(crate) use subscription::Elsewhere;
pub(crate) use subscription::{
    Delivery, End, IfBusy, Opened, SubscribeError, Subscriber, SubscriberSink, Subscription,
};
pub(crate) use topic::{
    ListedSubscriber, Place, PresenceBatch, PublishError, Published, SubscriberList, Topic,
    TopicStats, WaitError,
};
