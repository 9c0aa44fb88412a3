//! What operators see of a running engine: metrics, JSON logs, health, and the HTTP server that
//! answers for them.
//!
//! Everything here derives from what instances report ([`Signal`](crate::ports::host::Signal),
//! [`Measure`](crate::ports::host::Measure)) and from what a caller reads of the database. It
//! decides nothing: an engine without it computes the same rows.
//!
//! # Invariants
//! - No label of a metric names a key; a key's detail is in the logs.
//! - A password is in no line and no answer: nothing here is given one.

pub mod health;
pub mod http;
pub mod logs;
pub mod metrics;
mod signals;
