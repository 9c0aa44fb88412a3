//! A plan of named crash points: where, and at which pass, the process dies at once.
//!
//! The death is as sudden as a SIGKILL: no destructor runs, no connection is closed in good order,
//! nothing is flushed. A plan is empty unless a harness arms it.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::ports::host::Side;

/// A plan, shared by all instances of an OS process.
#[derive(Clone, Debug, Default)]
pub struct CrashPoints(Arc<Plan>);

#[derive(Debug, Default)]
struct Plan {
    /// Whether the list holds anything: all that an unarmed pass looks at.
    is_armed: AtomicBool,
    armed: Mutex<Vec<Armed>>,
}

#[derive(Debug)]
struct Armed {
    process: String,
    call: String,
    side: Side,
    passes_left: u64,
}

impl CrashPoints {
    /// The process dies at that pass of the point (from 1), counted over all its instances from now
    /// on. Pass 0 is taken as the first.
    pub fn arm(&self, process: &str, call: &str, side: Side, pass: u64) {
        let (process, call) = (process.to_owned(), call.to_owned());
        let armed = Armed { process, call, side, passes_left: pass.max(1) };
        self.0.armed.lock().unwrap_or_else(PoisonError::into_inner).push(armed);
        self.0.is_armed.store(true, Ordering::Release);
    }

    /// Passes a point.
    pub(super) fn pass(&self, process: &str, call: &str, side: Side) {
        if self.0.is_armed.load(Ordering::Acquire) && self.is_due(process, call, side) {
            die(process, call, side);
        }
    }

    /// Counts a pass; whether it is the last one.
    fn is_due(&self, process: &str, call: &str, side: Side) -> bool {
        let mut plan = self.0.armed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_due = false;
        for armed in plan.iter_mut() {
            if armed.process == process && armed.call == call && armed.side == side {
                armed.passes_left = armed.passes_left.saturating_sub(1);
                is_due |= armed.passes_left == 0;
            }
        }
        is_due
    }
}

/// Leaves one line of log and ends the process.
#[allow(clippy::disallowed_methods, reason = "a crash point means a death without destructors")]
fn die(process: &str, call: &str, side: Side) -> ! {
    let side = if side == Side::Before { "before" } else { "after" };
    // Nobody is left to hear that the line could not be written.
    let _ = writeln!(
        std::io::stderr(),
        r#"{{"level":"ERROR","message":"crash point","point":"{process}/{call}/{side}"}}"#
    );
    std::process::abort();
}

#[test]
fn a_point_is_due_at_its_pass_only() {
    let points = CrashPoints::default();
    assert!(!points.is_due("replayer", "Commit", Side::After));
    points.arm("replayer", "Commit", Side::After, 2);
    assert!(!points.is_due("replayer", "Commit", Side::Before));
    assert!(!points.is_due("persistence", "Commit", Side::After));
    assert!(!points.is_due("replayer", "Commit", Side::After));
    assert!(points.is_due("replayer", "Commit", Side::After));
}
