//! Scenarios: what a file says, what it may say, and the concrete plan that a seed makes of it.
//!
//! A scenario file composes cluster, workload and faults as data; a seed expands it into a [`Plan`]
//! in which nothing is left to be drawn. Every complaint about a file is one line that names file,
//! line, field, what is wrong and the cure.
//!
//! It refuses to guess: unknown keys, unknown securities, missing files and values out of range end
//! the command before anything runs.
//!
//! # Invariants
//! - One scenario, one seed and one set of data files give one plan, byte for byte.
//! - Each draw comes from a stream of its own (part of the workload, item), so that taking one part
//!   out never shifts another.

pub mod duration;
pub mod edits;
pub mod expect;
pub mod faults;
pub mod format;
pub mod load;
pub mod plan;
pub mod points;
pub mod problem;
pub mod schema;
pub mod source;
pub mod swarm;
pub mod tasks;
mod validate;

#[cfg(test)]
mod tests;

pub use format::Scenario;
pub use load::{Loaded, load, parse};
pub use plan::{ClusterPlan, PhasesPlan, Plan, PlannedFault, PlannedInput, ReadersPlan};
pub use problem::{Problem, Problems};
pub use source::Source;
