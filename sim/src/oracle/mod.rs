//! The oracle: a naive model of the results, and one rule per guarantee, judged from the recording.
//!
//! [`Judge::observe`] sees every event of a run as it happens, [`Judge::finish`] gives the verdict.
//! Rules share a mirror of what was committed; each documents which executions it judges, which
//! interference it allows, and what it asserts. The oracle refuses to read the engine's memory, and
//! to believe what an instance reports of itself (but for errors that it owns up to).
//!
//! # Invariants
//! - A rule that a run claims and that was never evaluated breaks the run.
//! - A run ends where a rule breaks: that it did not settle, and what was not evaluated by then,
//!   follows from that and breaks no rule of its own.
//! - Judging has no influence on a run.

mod g01_convergence;
mod g02_no_lost_reprocessing;
mod g03_fencing;
mod g04_monotone;
mod g05_exactly_once;
mod g06_conservation;
mod g07_nothing_lost;
mod g08_liveness;
mod g09_reads;
mod g10_bounded_work;
mod mirror;
pub mod model;
mod publication;
mod rule;

#[cfg(test)]
mod tests;

use std::time::Duration;

use backdate_reports::recording::{Event, SimTime};

use mirror::{Mirror, Step};
use rule::{End, Rule, Scene};
pub use rule::{Evidence, RuleId, RuleReport};

/// What a run is judged by.
#[derive(Clone, Debug)]
pub struct JudgeConfig {
    /// Rows of `position_state` that a transaction may hold locked.
    pub keys_per_transaction_max: u32,
    /// Lease of a claimed valuation job.
    pub lease: Duration,
    /// Simulated time without progress after which a calm run fails.
    pub progress_timeout: Duration,
    /// Simulated time within which a run must settle once it is calm.
    pub catch_up_limit: Option<Duration>,
    /// Rules that the run claims.
    pub claims: Vec<RuleId>,
    /// The claimed rules that are broken if they were never evaluated. A scenario is made to give
    /// each rule something to judge; whatever somebody feeds need not.
    pub must_evaluate: Vec<RuleId>,
}

impl Default for JudgeConfig {
    fn default() -> Self {
        Self {
            keys_per_transaction_max: 1_000,
            lease: Duration::from_secs(10),
            progress_timeout: Duration::from_secs(120),
            catch_up_limit: None,
            claims: RuleId::ALL.to_vec(),
            must_evaluate: RuleId::ALL.to_vec(),
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug)]
pub struct RunEnd {
    /// Whether it reached the phase in which everything has settled.
    pub settled: bool,
    /// The last instant.
    pub last: SimTime,
}

/// What the rules found.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// One report per claimed rule, in order.
    pub rules: Vec<RuleReport>,
}

impl Verdict {
    /// Whether no claimed rule was broken.
    pub fn passed(&self) -> bool {
        self.rules.iter().all(|report| report.violations == 0)
    }

    /// The broken rule with the earliest evidence.
    pub fn first_broken(&self) -> Option<&RuleReport> {
        let broken = self.rules.iter().filter(|report| report.violations > 0);
        broken.min_by_key(|report| report.first.as_ref().map_or(u64::MAX, |first| first.event))
    }
}

/// Judges a run while it happens.
pub struct Judge {
    mirror: Mirror,
    step: Step,
    rules: Vec<(RuleReport, Box<dyn Rule>)>,
    events: u64,
    must_evaluate: Vec<RuleId>,
}

impl Judge {
    /// A judge of the claimed rules.
    pub fn new(config: JudgeConfig) -> Self {
        let mut claims = config.claims.clone();
        claims.sort_unstable();
        claims.dedup();
        let rules = claims.into_iter().map(|id| {
            let rule: Box<dyn Rule> = match id {
                RuleId::G1 => Box::new(g01_convergence::Convergence),
                RuleId::G2 => Box::<g02_no_lost_reprocessing::NoLostReprocessing>::default(),
                RuleId::G3 => Box::<g03_fencing::Fencing>::default(),
                RuleId::G4 => Box::<g04_monotone::Monotone>::default(),
                RuleId::G5 => Box::new(g05_exactly_once::ExactlyOnce),
                RuleId::G6 => Box::new(g06_conservation::Conservation),
                RuleId::G7 => Box::<g07_nothing_lost::NothingLost>::default(),
                RuleId::G8 => Box::new(g08_liveness::Liveness::new(
                    config.progress_timeout,
                    config.catch_up_limit,
                )),
                RuleId::G9 => Box::<g09_reads::Reads>::default(),
                RuleId::G10 => {
                    let (keys_max, lease) = (config.keys_per_transaction_max, config.lease);
                    Box::new(g10_bounded_work::BoundedWork::new(keys_max, lease))
                }
            };
            (RuleReport::new(id), rule)
        });
        Self {
            mirror: Mirror::default(),
            step: Step::default(),
            rules: rules.collect(),
            events: 0,
            must_evaluate: config.must_evaluate,
        }
    }

    /// Sees the next event.
    pub fn observe(&mut self, event: &Event) {
        self.events = event.seq + 1;
        self.mirror.apply(event, &mut self.step);
        let scene = Scene { event, mirror: &self.mirror, step: &self.step };
        for (report, rule) in &mut self.rules {
            rule.observe(&scene, report);
        }
    }

    /// Whether a rule is broken so far.
    pub fn violated(&self) -> bool {
        self.rules.iter().any(|(report, _)| report.violations > 0)
    }

    /// The verdict.
    pub fn finish(mut self, end: &RunEnd) -> Verdict {
        let cut_short = !end.settled && self.violated();
        let scene = End {
            settled: end.settled,
            cut_short,
            last: end.last,
            events: self.events,
            mirror: &self.mirror,
        };
        for (report, rule) in &mut self.rules {
            rule.finish(&scene, report);
            // What did not settle cannot be compared with its end; liveness says so already.
            let unjudgeable = cut_short || (report.id == RuleId::G1 && !end.settled);
            let must = self.must_evaluate.contains(&report.id);
            if must && report.checks == 0 && !unjudgeable {
                report.violate_at(scene.last, scene.events, || {
                    "the run claims this rule and never evaluated it".to_owned()
                });
            }
        }
        Verdict { rules: self.rules.into_iter().map(|(report, _)| report).collect() }
    }
}
