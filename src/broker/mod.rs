//! Topics, their logs, and who reads them. All locks over shared state live here; no sockets, no HTTP, no WebSocket.
//!
//! In reading order: [`log`] numbers and keeps events; [`topic`] guards one log and its subscribers; a
//! [`subscription`] is a cursor into the log; [`fan_out`] offers what was published to all of them; the
//! [`gate`] makes publishers wait where there is no room; [`ledger`] keeps the totals and the global byte budget;
//! [`registry`] names the topics.
//!
//! Lock order: registry → topic; subscription cursor → gate → topic; ledger → topic. Nothing is taken under a topic's lock.

mod fan_out;
mod gate;
mod gathering;
mod history;
mod last_time;
mod ledger;
mod log;
mod piece;
mod registry;
mod roster;
mod subscription;
mod topic;

pub(crate) use fan_out::MAX_ROUNDS;
pub(crate) use gathering::Progress;
pub(crate) use history::{HistoryError, HistoryPage};
pub(crate) use last_time::LastTime;
pub(crate) use log::SharedFrame;
pub(crate) use piece::{Batch, Piece};
pub use registry::TopicOptions;
pub(crate) use registry::{Broker, CreateError, SortedTopics};
#[cfg(test)]
pub(crate) use subscription::Nobody;
pub(crate) use subscription::{Meeting, Offer, Outlet, Subscription};
pub(crate) use topic::{
    Opened, Place, PublishError, Published, SubscribeError, Topic, TopicStats, WaitError,
};
