//! The threadcast binary.
fn main() {}
