//! The world in which the engine runs deterministically, and the harness around it.

pub mod cli;
pub mod cluster;
pub mod feed;
#[cfg(feature = "defects")]
pub mod hunt;
pub mod kafka;
pub mod oracle;
pub mod postgres;
pub mod proxy;
pub mod real;
pub mod runner;
pub mod scenario;
pub mod serve;
pub mod shrink;
pub mod sweep;
pub mod workload;
pub mod world;
