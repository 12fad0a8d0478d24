//! Topics, their logs, and who reads them. The locks over shared state are here; no sockets, no HTTP. The log holds events
//! as the finished WebSocket frames that go on the wire, so that an event is encoded once.
//!
//! In reading order: [`log`] numbers and keeps events; [`topic`] guards one log and its subscribers; a [`subscription`] is
//! one client's interest in a topic, a [`cursor`] how far it has read, and [`takeover`] how a newer one takes its place;
//! [`fan_out`] delivers what was published to all of them; at the [`gate`] publishers wait where there is no room;
//! [`memory_budget`] keeps the totals and the global byte budget; [`registry`] names the topics.
//!
//! Lock order: registry → memory budget; outbox → topic; gate → topic. Nothing is taken under a topic's lock.

mod chunk;
mod cursor;
mod cursors;
mod fan_out;
mod gate;
mod history;
mod last_time;
mod log;
mod memory_budget;
mod registry;
mod subscribers;
mod subscription;
mod takeover;
mod topic;

pub(crate) use chunk::{Chunk, ReadBatch};
pub(crate) use cursor::Progress;
pub(crate) use cursors::Cursors;
pub(crate) use fan_out::{FanOut, MAX_ROUNDS};
pub(crate) use history::{HistoryError, HistoryPage};
pub(crate) use last_time::LastTime;
pub(crate) use log::SharedFrame;
pub use registry::TopicOptions;
pub(crate) use registry::{Broker, CreateError, SortedTopics};
#[cfg(test)]
pub(crate) use subscription::Nobody;
pub(crate) use subscription::{
    Delivery, End, IfBusy, Opened, SubscribeError, SubscriberSink, Subscription,
};
pub(crate) use topic::{Place, PublishError, Published, Topic, TopicStats, WaitError};
