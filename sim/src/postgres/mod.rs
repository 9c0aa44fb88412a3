//! A simulated PostgreSQL: one primary, READ COMMITTED, and the engine's store port on it.
//!
//! [`core`] knows tables, locks and transactions; [`schema`] the engine's tables; [`statements`]
//! each statement of the port; [`server`] is the process, [`client`] the port.
//!
//! It refuses to model what the engine's hot tables do without: foreign keys, savepoints, other
//! isolation levels.

pub mod client;
pub mod control;
pub mod core;
pub mod derived;
pub mod disk;
pub mod profile;
pub mod schema;
pub mod server;
pub mod statements;
mod wire;

#[cfg(test)]
mod tests;
