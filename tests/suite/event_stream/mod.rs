//! Event streams (`GET /topics/{name}/events`) over raw sockets: the bytes, the promises of a subscription, and every way to
//! end.

mod access;
mod bytes;
mod crowds;
mod endings;
mod hostile;
mod resuming;
mod slow;
mod takeover;
