//! The harness itself: what it does to Redis and to links, and that its accounts find what is wrong.

mod accounts;
mod links;
mod processes;
