//! The connections to one Redis. In reading order: [`keeper`] is the thread that connects ([`connect`], perhaps where the
//! [`sentinels`] say) and looks what it has found ([`health`]); [`failure`] says what is wrong. Commands go over a [`lane`],
//! those of several threads together ([`group_commit`]); messages come over the [`link`].

pub(super) mod connect;
pub(super) mod failure;
pub(super) mod group_commit;
pub(super) mod health;
pub(super) mod keeper;
pub(super) mod lane;
pub(super) mod link;
mod sentinels;
