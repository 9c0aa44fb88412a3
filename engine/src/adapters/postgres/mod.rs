//! The store port on PostgreSQL, through sqlx.
//!
//! One prepared statement per statement of the port, set-based over arrays; snapshots by binary
//! COPY. Numbers, dates and instants are encoded by hand and never pass through a text. It refuses
//! to repeat anything whose outcome it does not know, to hide a lost session, and to work on a
//! schema of another version ([`Store::ping`]).

mod bind;
mod cells;
mod columns;
pub mod config;
mod copy;
mod error;
#[cfg(feature = "telemetry")]
mod gauges;
#[cfg(target_os = "linux")]
mod nodelay;
mod numeric;
mod pool;
mod schema;
mod statements;
mod store;
mod types;

pub use schema::{Migrated, drop_schema, migrate, schema_exists};
pub use store::{Open, Store};
