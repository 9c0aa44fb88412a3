//! Driving runs: a stage, its phases, and what it comes to.

pub mod canary;
mod doctor;
pub mod observers;
pub mod outcome;
pub(crate) mod reader;
pub mod run;
pub mod simulation;
pub mod stage;
mod telemetry;

pub use canary::Canary;
pub use observers::{EventObserver, Observers};
pub use outcome::{End, Outcome, exit};
pub use run::{Progress, RunError, RunOptions, Watchers, run, run_watched};
pub use stage::Stage;
