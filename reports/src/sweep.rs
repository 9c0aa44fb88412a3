//! A sweep: many runs, of many scenarios under many seeds, as one result.
//!
//! [`RunResult`] is what is kept of a run, [`SweepSummary`] what all of them come to. Failures are
//! grouped by the broken claim and by what their evidence looks like, so that a thousand failing
//! seeds are read as the three bugs that they are.
//!
//! # Invariants
//! - Nothing here holds a time of day, or a duration or a name of the machine: the same runs give
//!   the same bytes, whoever made them and in which order.

pub mod annotations;
pub mod junit;
mod known;
mod result;
mod summary;
#[cfg(test)]
mod tests;
pub mod text;

pub use known::{Known, KnownFile};
pub use result::{Complaint, RunResult};
pub use summary::{
    Context, Failures, LostRun, Measured, Reached, RuleTotal, ScenarioSummary, Seeds, SweepSummary,
};
