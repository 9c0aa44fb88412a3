//! Driving runs: one simulation, its phases, and what it comes to.

pub mod outcome;
pub mod run;
pub mod simulation;

pub use outcome::{End, Outcome, exit};
pub use run::{Canary, Progress, RunError, RunOptions, run, run_probed};
