//! threadcast
pub mod config;
