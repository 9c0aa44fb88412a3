//! The search for one defect.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use backdate_engine::defects::{self, Defect};
use backdate_reports::summary::Summary;
use serde::{Deserialize, Serialize};

use super::order::Scenarios;
use crate::runner::{self, RunError, RunOptions, exit};
use crate::scenario::{Loaded, Plan};

/// What stands for a rule where the engine itself noticed that something is wrong.
const PANIC: &str = "panic";

/// What came of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The defect.
    pub name: String,
    /// What was planted with it, because it would mask it.
    pub masks: Vec<String>,
    /// Whether a rule broke.
    pub found: bool,
    /// The rule that broke first.
    pub rule: Option<String>,
    /// In which scenario.
    pub scenario: Option<String>,
    /// Under which seed.
    pub seed: Option<u64>,
    /// Runs until then.
    pub runs: u64,
    /// Time until then.
    pub seconds: f64,
    /// Runs that break a rule without any defect: bugs of the engine or of the harness.
    pub broken_anyway: Vec<String>,
}

/// What is searched for, and how far.
pub struct Search<'a> {
    /// The defect.
    pub defect: Defect,
    /// What runs.
    pub scenarios: &'a Scenarios,
    /// The first seed.
    pub first_seed: u64,
    /// Most runs.
    pub max_runs: u64,
    /// Folder in which the run that finds it is recorded; it must exist.
    pub save: Option<&'a Path>,
    /// Set by Ctrl-C.
    pub interrupted: &'static AtomicBool,
    /// Time since the search began.
    pub seconds: &'a dyn Fn() -> f64,
}

impl Search<'_> {
    /// Runs until a rule breaks that holds without the defect; none if it was interrupted.
    pub fn run(&self) -> Result<Option<Finding>, RunError> {
        let mut finding = Finding {
            name: self.defect.name().to_owned(),
            masks: self.defect.masks().iter().map(|mask| mask.name().to_owned()).collect(),
            found: false,
            rule: None,
            scenario: None,
            seed: None,
            runs: 0,
            seconds: 0.0,
            broken_anyway: Vec::new(),
        };
        let mut runs = self.scenarios.runs(self.first_seed);
        while finding.runs < self.max_runs
            && let Some((loaded, seed)) = runs.next()
        {
            finding.runs += 1;
            let broken = self.judge(loaded, seed, Some(self.defect), None)?;
            if self.interrupted.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let Some(rule) = broken else { continue };
            if let Some(anyway) = self.judge(loaded, seed, None, None)? {
                let name = &loaded.scenario.name;
                finding.broken_anyway.push(format!("{name} --seed {seed} breaks {anyway}"));
                continue;
            }
            finding.found = true;
            finding.rule = Some(rule);
            finding.scenario = Some(loaded.scenario.name.clone());
            finding.seed = Some(seed);
            if self.save.is_some() {
                self.judge(loaded, seed, Some(self.defect), self.save)?;
            }
            break;
        }
        finding.seconds = (self.seconds)();
        Ok(Some(finding))
    }

    /// The rule that a run breaks, if it breaks one. Each run has a thread of its own: a panic ends
    /// no more than that, and leaves nothing behind for the next one.
    #[allow(clippy::disallowed_methods, reason = "one thread at a time, for a run that may panic")]
    fn judge(
        &self,
        loaded: &Loaded,
        seed: u64,
        defect: Option<Defect>,
        save: Option<&Path>,
    ) -> Result<Option<String>, RunError> {
        let interrupted = self.interrupted;
        std::thread::scope(|scope| {
            let run = scope.spawn(move || {
                defects::plant(defect);
                let plan = Plan::expand(loaded, seed);
                let options = RunOptions {
                    plan: &plan,
                    save,
                    canary: None,
                    interrupted,
                    progress: &mut |_| {},
                    events: None,
                };
                runner::run(options).map(|outcome| broken(&outcome.summary))
            });
            run.join().unwrap_or_else(|_| Ok(Some(PANIC.to_owned())))
        })
    }
}

/// The rule that broke first.
fn broken(summary: &Summary) -> Option<String> {
    match summary.exit_code {
        exit::RULE | exit::NOT_CONVERGED => summary.first_broken().map(|rule| rule.id.clone()),
        _ => None,
    }
}
