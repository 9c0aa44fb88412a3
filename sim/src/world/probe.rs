//! Whose work the machine does: a hook for benchmarks, told at every change.
//!
//! The world has no clock of the machine and must not have one. Whoever measures hands it a
//! function; the function reads the time, the world only says what begins and what ends. Without
//! one, each place costs a branch.
//!
//! # Invariants
//! - Work nests: what ends is what began last.
//! - A probe sees nothing that could change the course of a run, and is asked for nothing.

use std::rc::Rc;

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work<'a> {
    /// The loop of the world, apart from what nests in it: choosing tasks, timers.
    Loop,
    /// A poll of a task of that process: its own code, and its calls into sockets and ports.
    Task(&'a str),
    /// Collecting packets from sockets and delivering them.
    Network,
    /// Turning an event into bytes for the fingerprint.
    Trace,
    /// The rules.
    Judge,
    /// The meters.
    Meters,
    /// Writing the recording.
    Recorder,
}

/// Told what begins; `None`: what began last ends.
pub type Probe = Rc<dyn Fn(Option<Work<'_>>)>;

/// Runs some work in sight of a probe, if there is one.
pub(crate) fn probed<T>(probe: Option<&Probe>, work: Work<'_>, apply: impl FnOnce() -> T) -> T {
    let Some(probe) = probe else {
        return apply();
    };
    probe(Some(work));
    let done = apply();
    probe(None);
    done
}
