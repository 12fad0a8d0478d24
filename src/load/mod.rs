//! The parts of a load generator, shared by `threadcast bench`, the benchmarks and the soak test. Not a public interface: it may
//! change in any version.
//!
//! [`SequenceChecker`] finds lost, repeated and reordered events, [`PayloadTemplate`] writes what it reads,
//! [`Latencies`] counts samples, [`Connection`] is a WebSocket client with little work of its own, and [`ServerProcess`] is the
//! server under test.

mod connection;
mod latencies;
mod payload;
mod process;
mod sequence;

pub use connection::{Connection, Incoming, append_frame, first_frame, opcode};
pub use latencies::Latencies;
pub use payload::{PayloadTemplate, Stamp};
pub use process::{ServerProcess, Usage, measure, raise_descriptor_limit};
pub use sequence::SequenceChecker;

/// Why a load generator cannot go on, or which check has failed.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
