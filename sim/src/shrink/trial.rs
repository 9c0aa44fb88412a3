//! One attempt after the other: runs a smaller plan and keeps it if it fails in the same way.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use backdate_reports::recording::{Phase, SimTime};
use backdate_reports::summary::Summary;

use super::{Options, Progress, Refusal, Shrunk, Size};
use crate::oracle::RuleId;
use crate::runner::{self, RunOptions};
use crate::scenario::plan::Plan;

/// How many other seeds a large step is tried under.
const OTHER_SEEDS: u64 = 2;

/// How a plan fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The rule that broke first.
    pub rule: RuleId,
    /// What it says.
    pub evidence: String,
    /// The phase in which it broke.
    pub phase: Phase,
    /// How long after the storm began, if it had begun.
    pub storm_ms: Option<u64>,
}

/// The smallest plan so far, and what it takes to try a smaller one.
pub(super) struct Trial<'a> {
    options: Options<'a>,
    plan: Plan,
    broken: Broken,
    runs: u64,
    /// Digests of plans that are known not to fail.
    refuted: BTreeSet<u128>,
    /// What is being taken out.
    pub(super) pass: &'static str,
}

impl<'a> Trial<'a> {
    /// Sees the plan fail.
    pub(super) fn begin(plan: Plan, options: Options<'a>) -> Result<Self, Refusal> {
        let mut trial = Self {
            options,
            broken: Broken {
                rule: RuleId::G1,
                evidence: String::new(),
                phase: Phase::Warmup,
                storm_ms: None,
            },
            plan,
            runs: 0,
            refuted: BTreeSet::new(),
            pass: "nothing yet",
        };
        let first = trial.plan.clone();
        trial.broken = trial.run(&first)?;
        // From here on the plan is a regression: its rule must be judged, others may have no work.
        let mut plan = first;
        plan.must_evaluate = Some(vec![trial.broken.rule]);
        plan.thresholds = Vec::new();
        plan.expect = Default::default();
        plan.generated = None;
        trial.plan = plan;
        Ok(trial)
    }

    /// The smallest plan so far.
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How it fails.
    pub(super) fn broken(&self) -> &Broken {
        &self.broken
    }

    /// Whether the limit is reached, or Ctrl-C was pressed.
    pub(super) fn is_over(&self) -> bool {
        self.runs >= self.options.runs_max || self.options.interrupted.load(Ordering::Relaxed)
    }

    /// Keeps a smaller plan if it fails in the same way. A large step may need other luck.
    pub(super) fn keeps(&mut self, mut smaller: Plan, is_large: bool) -> bool {
        for (id, input) in smaller.inputs.iter_mut().enumerate() {
            input.id = id as u64;
        }
        let seed = smaller.seed;
        let others = if is_large { OTHER_SEEDS } else { 0 };
        for other in 0..=others {
            smaller.seed = seed.wrapping_add(other) & (u64::MAX >> 1);
            if self.keeps_as_it_is(&smaller) {
                return true;
            }
        }
        false
    }

    fn keeps_as_it_is(&mut self, smaller: &Plan) -> bool {
        let bytes = postcard::to_stdvec(smaller).expect("a plan is plain data");
        let digest = xxhash_rust::xxh3::xxh3_128(&bytes);
        if self.is_over() || self.refuted.contains(&digest) {
            return false;
        }
        match self.run(smaller) {
            Ok(broken) if broken.rule == self.broken.rule => {
                self.plan = smaller.clone();
                self.broken = broken;
                true
            }
            _ => {
                self.refuted.insert(digest);
                false
            }
        }
    }

    fn run(&mut self, plan: &Plan) -> Result<Broken, Refusal> {
        let size = Size::of(&self.plan);
        (self.options.progress)(&Progress { runs: self.runs, pass: self.pass, size });
        self.runs += 1;
        let mut storm = None;
        let mut phase = Phase::Warmup;
        let outcome = runner::run(RunOptions {
            plan,
            save: None,
            canary: self.options.canary,
            interrupted: self.options.interrupted,
            progress: &mut |progress| {
                phase = progress.phase;
                if phase == Phase::Storm && storm.is_none() {
                    storm = Some(progress.sim);
                }
            },
            events: None,
        });
        if self.options.interrupted.load(Ordering::Relaxed) {
            return Err(Refusal::Interrupted);
        }
        let summary = match outcome {
            Ok(outcome) => outcome.summary,
            Err(error) => unreachable!("nothing is written: {error}"),
        };
        broken(&summary, phase, storm)
    }

    /// What it came to.
    pub(super) fn end(self, before: Size) -> Shrunk {
        let is_minimal = !self.is_over();
        let after = Size::of(&self.plan);
        Shrunk { plan: self.plan, broken: self.broken, before, after, runs: self.runs, is_minimal }
    }
}

/// How a run failed; an error if it did not.
fn broken(summary: &Summary, phase: Phase, storm: Option<SimTime>) -> Result<Broken, Refusal> {
    let rule = summary.first_broken().ok_or(Refusal::Passes)?;
    let id = RuleId::parse(&rule.id).expect("a summary of this build names its rules");
    let Some(first) = rule.first.as_ref().filter(|_| rule.checks > 0) else {
        return Err(Refusal::Unjudged(id));
    };
    let since = |storm| u64::try_from(first.at.since(storm).as_millis()).unwrap_or(u64::MAX);
    Ok(Broken {
        rule: id,
        evidence: first.evidence.clone(),
        phase,
        // It began at most one look before it was seen, which a pass allows for.
        storm_ms: storm.map(since),
    })
}
