//! Who is in the cluster: [`node`] says which nodes live, [`owners`] who is subscribed where, and [`owned`] mends what Redis has
//! of it. A subscription is [`joining`] its topic; [`subscribers`] lists those of a topic, and [`presence`] follows who is subscribed
//! to topics that clients of this node watch.

pub(super) mod appearing;
pub(super) mod joining;
pub(super) mod node;
pub(super) mod owned;
pub(super) mod owners;
pub(super) mod presence;
pub(super) mod subscribers;
