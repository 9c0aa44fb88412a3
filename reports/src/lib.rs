//! What a run writes and how it is shown.

pub mod latency_log;
pub mod meters;
pub mod metrics;
pub mod recording;
pub mod store;
pub mod summary;
pub mod sweep;
pub mod text;
pub mod thresholds;
pub mod trace;
mod unfinished;
