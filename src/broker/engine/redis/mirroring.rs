//! The mirrors of topics on this node: [`publishes`] sends batches, which [`joined`] makes into entries, and appends what was
//! numbered; [`receipts`] say what became of each message. [`apply`] appends what comes over the link, and [`catch_up`] what did
//! not come. [`deletions`] and [`runs`] of Redis are remembered, so that a node can tell what was deleted from what was lost.

pub(super) mod apply;
pub(super) mod catch_up;
pub(super) mod deletions;
mod joined;
pub(super) mod mirrors;
pub(super) mod publishes;
pub(super) mod receipts;
pub(super) mod runs;
