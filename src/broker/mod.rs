//! Topics, their logs, and their subscriptions. Owns the locks over that shared state; knows no socket and no HTTP. A log
//! holds events as finished WebSocket frames, so that each event is encoded once.
//!
//! In reading order: [`log`] numbers and retains events; [`topic`] guards one log and its subscribers; a [`subscription`]
//! is one client's interest in a topic, a [`cursor`] its read position, and [`takeover`] its replacement by a newer one;
//! [`fan_out`] delivers published events to all subscribers; [`gate`] makes publishers wait while there is no room;
//! [`memory_budget`] keeps the totals and the global memory budget; [`registry`] finds topics by name.
//!
//! Lock order: registry → memory budget; outbox → topic; gate → topic. No lock is taken under a topic's lock.

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
mod registry;
mod subscribers;
mod subscription;
mod takeover;
mod topic;

pub(crate) use chunk::{Chunk, ReadBatch};
pub(crate) use cursor::Progress;
pub(crate) use cursors::Cursors;
pub(crate) use engine::{Engine, redis};
pub(crate) use fan_out::{FanOut, MAX_ROUNDS};
pub(crate) use history::{HistoryError, HistoryPage};
pub(crate) use last_time::LastTime;
pub(crate) use log::SharedFrame;
pub(crate) use mirror::Batch;
pub use registry::TopicOptions;
pub(crate) use registry::{Broker, CreateError, Joined, StatsList, TopicError, TopicList};
#[cfg(test)]
pub(crate) use subscription::Elsewhere;
pub(crate) use subscription::{
    Delivery, End, IfBusy, Opened, SubscribeError, SubscriberSink, Subscription,
};
pub(crate) use topic::{Place, PublishError, Published, Topic, TopicStats, WaitError};
