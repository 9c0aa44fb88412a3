//! Driving runs: one simulation, its phases, and what it comes to.

pub mod canary;
pub mod outcome;
pub mod run;
pub mod simulation;

pub use canary::Canary;
pub use outcome::{End, Outcome, exit};
pub use run::{Progress, RunError, RunOptions, run, run_probed};
