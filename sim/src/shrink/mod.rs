//! Smaller failures: takes out of a plan whatever its failure does not need.
//!
//! Delta debugging over the concrete plan: a part is left out (phases, faults, inputs by portfolio,
//! security, date and one by one, instances, knobs), the rest is run, and if the same rule still
//! breaks first, the part stays out. What remains is a plan that a person can read, and that is a
//! regression once its cause is mended: it demands then that the rule finds something to judge.
//!
//! A failure that depends on timing may need other luck once something is gone; a large step is
//! therefore tried under a few seeds.
//!
//! It refuses to trade one failure for another: only the rule that broke first at the beginning
//! counts, and a rule that found nothing to judge has not broken.
//!
//! # Invariants
//! - What it returns has been run, and breaks the rule.
//! - The same plan and limits give the same result.

mod names;
mod passes;
mod reduce;
#[cfg(test)]
mod tests;
mod trial;

use std::sync::atomic::AtomicBool;

use thiserror::Error;

use crate::oracle::RuleId;
use crate::runner::Canary;
use crate::scenario::plan::Plan;
pub use trial::Broken;
use trial::Trial;

/// How and how long to look.
pub struct Options<'a> {
    /// The most runs.
    pub runs_max: u64,
    /// An alarm that must ring.
    pub canary: Option<Canary>,
    /// Set by Ctrl-C; what is known by then is the result.
    pub interrupted: &'a AtomicBool,
    /// Called before each run.
    pub progress: &'a mut dyn FnMut(&Progress),
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Runs so far.
    pub runs: u64,
    /// What is being taken out.
    pub pass: &'static str,
    /// Size of the smallest plan so far.
    pub size: Size,
}

/// What a reader of a plan has to look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Size {
    /// Faults.
    pub faults: usize,
    /// Inputs.
    pub inputs: usize,
    /// Instances of the engine.
    pub instances: usize,
    /// Knobs that are not at their defaults.
    pub knobs: usize,
}

impl Size {
    /// That of a plan.
    pub fn of(plan: &Plan) -> Self {
        Self {
            faults: plan.faults.len(),
            inputs: plan.inputs.len(),
            instances: plan.cluster.instances.values().map(|count| *count as usize).sum(),
            knobs: passes::changed_knobs(&plan.cluster.knobs).len(),
        }
    }
}

/// A failure that has been made smaller.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// What is left.
    pub plan: Plan,
    /// How it fails.
    pub broken: Broken,
    /// Size at the beginning.
    pub before: Size,
    /// Size at the end.
    pub after: Size,
    /// Runs that it took.
    pub runs: u64,
    /// Whether nothing more can be taken out, or the limit or Ctrl-C ended the search.
    pub is_minimal: bool,
}

/// Why there is nothing to shrink.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// The plan is fine.
    #[error("no rule breaks, so there is nothing to shrink")]
    Passes,
    /// A rule of the run had no work at all.
    #[error("{0} breaks only because it finds nothing to judge: change the scenario")]
    Unjudged(RuleId),
    /// Ctrl-C came before the first run was over.
    #[error("interrupted before the failure was seen")]
    Interrupted,
}

/// Makes the failure of a plan smaller.
///
/// # Errors
/// If the plan does not fail.
pub fn shrink(plan: Plan, options: Options<'_>) -> Result<Shrunk, Refusal> {
    let before = Size::of(&plan);
    let mut trial = Trial::begin(plan, options)?;
    while !trial.is_over() && passes::all(&mut trial) {}
    Ok(trial.end(before))
}
