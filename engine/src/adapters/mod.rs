//! The ports on real services: Apache Kafka, PostgreSQL, the machine's clock and randomness.
//!
//! Each adapter is an optional feature, so that the simulator builds the engine without any of
//! them. An adapter translates and hides nothing: what its service does not promise, it does not
//! promise.

#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod secret;
#[cfg(feature = "system")]
pub mod system;
#[cfg(feature = "telemetry")]
pub mod telemetry;
