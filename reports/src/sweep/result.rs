//! What a sweep keeps of one run: a line of `results.jsonl`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::known::Known;
use crate::summary::{ExpectationSummary, RuleSummary, Summary, ThresholdSummary};

/// Exit code of a run whose repetition came out differently.
const NONDETERMINISM: u8 = 4;

/// What became of one scenario under one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// The file of the scenario or of the plan, as it was named.
    pub source: String,
    /// Name of the scenario.
    pub scenario: String,
    /// Root of all random streams.
    pub seed: u64,
    /// Whether the scenario is satisfied: all holds, or exactly what it must break is broken.
    pub passed: bool,
    /// What `run` ends with.
    pub exit_code: u8,
    /// Hash over everything that happened.
    pub fingerprint: String,
    /// Simulated time at the end.
    pub sim_seconds: f64,
    /// What the rules say.
    pub rules: Vec<RuleSummary>,
    /// Thresholds of the scenario.
    pub thresholds: Vec<ThresholdSummary>,
    /// What the scenario expects to have happened.
    pub expectations: Vec<ExpectationSummary>,
    /// Interesting states by name: how often each was reached; those never reached are left out.
    pub sometimes: BTreeMap<String, u64>,
    /// What is wrong; empty if the run passed.
    pub complaints: Vec<Complaint>,
    /// Folder of the saved run within the folder of the sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<String>,
}

/// Something that a run claims and that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    /// A rule (`G3`), or `threshold EXPRESSION`, `expectation EXPRESSION`, `determinism`,
    /// `environment`.
    pub claim: String,
    /// What was seen.
    pub evidence: String,
}

impl RunResult {
    /// What is kept of a summary; `breaks` is the rule that the scenario must break, if any.
    pub fn of(source: &str, summary: &Summary, breaks: Option<&str>) -> Self {
        let is_as_meant = is_as_meant(summary, breaks);
        let complaints = complaints(summary, breaks, is_as_meant);
        let reached = summary.sometimes.iter().filter(|(_, times)| **times > 0);
        Self {
            source: source.to_owned(),
            scenario: summary.scenario.clone(),
            seed: summary.seed,
            passed: complaints.is_empty(),
            exit_code: summary.exit_code,
            fingerprint: summary.fingerprint.clone(),
            sim_seconds: summary.sim_seconds,
            rules: summary.rules.clone(),
            thresholds: summary.thresholds.clone(),
            expectations: summary.expectations.clone(),
            sometimes: reached.map(|(name, times)| (name.clone(), *times)).collect(),
            complaints,
            saved: None,
        }
    }

    /// Whether everything that is wrong with it is known.
    pub fn is_known(&self, known: &[Known]) -> bool {
        let is_known = |complaint| known.iter().any(|known| known.covers(self, complaint));
        !self.complaints.is_empty() && self.complaints.iter().all(is_known)
    }

    /// The run came out differently when it was repeated to be saved.
    #[must_use]
    pub fn not_repeatable(mut self, second: &str) -> Self {
        self.passed = false;
        self.exit_code = NONDETERMINISM;
        self.complaints = vec![Complaint {
            claim: "determinism".into(),
            evidence: format!("fingerprint {} at first, then {second}", self.fingerprint),
        }];
        self
    }
}

/// Whether what must break is broken; without such a rule, whether all is well.
fn is_as_meant(summary: &Summary, breaks: Option<&str>) -> bool {
    match breaks {
        Some(id) => summary.broken_rules().iter().any(|rule| rule.id == id),
        None => summary.exit_code == 0,
    }
}

/// What is wrong with a run, all of it.
fn complaints(summary: &Summary, breaks: Option<&str>, is_as_meant: bool) -> Vec<Complaint> {
    let evidence = |rule: &RuleSummary| {
        rule.first.as_ref().map_or_else(String::new, |first| first.evidence.clone())
    };
    let broken = summary.broken_rules().into_iter();
    let broken = broken.filter(|rule| Some(rule.id.as_str()) != breaks);
    let rules = broken.map(|rule| Complaint { claim: rule.id.clone(), evidence: evidence(rule) });
    let missed = summary.thresholds.iter().filter(|threshold| !threshold.ok);
    let thresholds = missed.map(|threshold| Complaint {
        claim: format!("threshold {}", threshold.expr),
        evidence: match threshold.value {
            Some(value) => format!("measured {value}"),
            None => "never measured".into(),
        },
    });
    let missed = summary.expectations.iter().filter(|expectation| !expectation.ok);
    let expectations = missed.map(|expectation| Complaint {
        claim: format!("expectation {}", expectation.expected),
        evidence: format!("seen: {}", expectation.seen),
    });
    let mut complaints: Vec<Complaint> = rules.chain(thresholds).chain(expectations).collect();
    if complaints.is_empty() && !is_as_meant {
        let claim = if summary.exit_code == 3 { "G8" } else { "environment" };
        complaints.push(Complaint { claim: claim.into(), evidence: summary.notes.join("; ") });
    }
    complaints
}
