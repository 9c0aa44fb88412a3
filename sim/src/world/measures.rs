//! What processes measure: a hook for whoever writes metrics down.
//!
//! It is no event: measured too often to be recorded one by one, it is in no recording and in no
//! fingerprint. Without a hook, each place costs a branch.
//!
//! # Invariants
//! - Who takes measurements sees nothing that could change the course of a run, and is asked for
//!   nothing.

use std::rc::Rc;
use std::time::Duration;

use backdate_engine::ports::host::Measure;
use backdate_reports::recording::SimTime;

/// Something that was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// What an instance of the engine counts.
    Counted(Measure),
    /// How long a statement took, from sending it to its answer.
    Statement {
        /// Its name.
        operation: &'static str,
        /// Simulated time.
        took: Duration,
    },
    /// The database has run a statement.
    Served {
        /// Its name.
        operation: &'static str,
        /// Rows that it returned or wrote.
        rows: u64,
    },
}

/// Takes measurements, each with its time and the name of its process.
pub type Measurer = Rc<dyn Fn(SimTime, &str, Measured)>;
