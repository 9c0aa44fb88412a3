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

/// Runs an instance of a process on real services, see [`crate::runtime::run`]. It is compiled
/// here once, and not again by everybody who calls it.
#[cfg(all(feature = "kafka", feature = "postgres", feature = "system"))]
pub fn run(
    kind: crate::runtime::ProcessKind,
    ports: system::RealPorts<postgres::Store, kafka::Client>,
    knobs: crate::runtime::Knobs,
) -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(crate::runtime::run(kind, ports, knobs))
}
