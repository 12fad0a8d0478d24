//! What the targets compare threadcast with: the same grammars, implemented again in the plainest way.
//!
//! Nothing here is optimised, and nothing here calls threadcast.

pub mod answers;
pub mod chunked;
pub mod forwarded;
pub mod frames;
pub mod json;
pub mod keys;
pub mod names;
pub mod pieces;
pub mod proxy;
pub mod reader;
pub mod request;
pub mod script;
pub mod tokens;
