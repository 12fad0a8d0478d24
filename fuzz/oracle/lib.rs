//! What the targets compare threadcast with: the same things read once more, as plainly as can be, by other code.
//!
//! Nothing here is fast or clever, and nothing here calls threadcast.

pub mod answers;
pub mod chunked;
pub mod frames;
pub mod json;
pub mod keys;
pub mod names;
pub mod pieces;
pub mod reader;
pub mod request;
pub mod script;
