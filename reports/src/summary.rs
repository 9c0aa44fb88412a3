//! `summary.json`: what a run came to, for scripts and auditors.
//!
//! Names and meanings stay as they are within a schema version; more fields may follow.
//!
//! # Invariants
//! - Two runs of one plan differ in `wall_seconds` and `peak_rss_bytes` at most.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::recording::SimTime;

/// Version of the schema.
pub const SCHEMA_VERSION: u32 = 1;

/// Exit code of a run that did not converge.
const NOT_CONVERGED: u8 = 3;

/// Of exit codes that all apply, the one that counts; 0 if there is none.
pub fn worst_exit_code(codes: impl IntoIterator<Item = u8>) -> u8 {
    const WORST_FIRST: [u8; 6] = [2, 6, 4, 1, 3, 5];
    let place = |code: &u8| WORST_FIRST.iter().position(|other| other == code);
    codes.into_iter().filter(|code| *code != 0).min_by_key(place).unwrap_or(0)
}

/// Pass or fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything that was claimed holds.
    Pass,
    /// Something does not.
    Fail,
}

/// The summary of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Pass or fail.
    pub verdict: Verdict,
    /// What the command ends with.
    pub exit_code: u8,
    /// Name of the scenario.
    pub scenario: String,
    /// `sim` or `real`.
    pub on: String,
    /// Root of all random streams.
    pub seed: u64,
    /// Commit of the build; `unknown` if it was not built from a repository.
    pub commit: String,
    /// The defect that was planted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defect: Option<String>,
    /// Hash over everything that happened, in hexadecimal.
    pub fingerprint: String,
    /// File of the plan, relative to the folder of the run; none if it was not saved.
    pub plan: Option<String>,
    /// Simulated time at the end.
    pub sim_seconds: f64,
    /// Time that it took.
    pub wall_seconds: Option<f64>,
    /// Most memory in use.
    pub peak_rss_bytes: Option<u64>,
    /// What the rules say.
    pub rules: Vec<RuleSummary>,
    /// Counts, by name; all of [`crate::meters::COUNTERS`].
    pub counters: BTreeMap<String, u64>,
    /// From the last input or fault until every key was `CURRENT`; none if that did not come.
    pub catch_up_seconds: Option<f64>,
    /// Injected faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// Interesting states by name: how often each was reached.
    pub sometimes: BTreeMap<String, u64>,
    /// Share of time that a process or server was busy.
    pub utilisation: BTreeMap<String, f64>,
    /// Longest queues.
    pub queue_max: BTreeMap<String, u64>,
    /// Latencies by hop.
    pub latency_ms: BTreeMap<String, Latency>,
    /// Thresholds of the scenario.
    pub thresholds: Vec<ThresholdSummary>,
    /// What the scenario expects to have happened.
    #[serde(default)]
    pub expectations: Vec<ExpectationSummary>,
    /// Stale messages that were fenced, by the producer that sent them.
    #[serde(default)]
    pub fenced_producers: BTreeMap<String, u64>,
    /// Why it did not converge, or what else a person must know; one line each.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSummary {
    /// `G1` and so on.
    pub id: String,
    /// How often it was evaluated.
    pub checks: u64,
    /// How often it was broken.
    pub violations: u64,
    /// The first time that it was broken.
    pub first: Option<ViolationSummary>,
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViolationSummary {
    /// Simulated time in nanoseconds.
    pub at: SimTime,
    /// Number of the event.
    pub event: u64,
    /// What was seen, and what should have been.
    pub evidence: String,
}

/// A distribution in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 99 % were as fast or faster.
    pub p99: f64,
    /// 99.9 % were as fast or faster.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
    /// How many.
    pub count: u64,
}

/// A threshold and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThresholdSummary {
    /// As the scenario says it.
    pub expr: String,
    /// The measured value; none if it was never measured, which misses the threshold.
    pub value: Option<f64>,
    /// Whether it holds.
    pub ok: bool,
}

/// An expectation and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectationSummary {
    /// What must have happened, e.g. `fenced >= 1`.
    pub expected: String,
    /// What did.
    pub seen: String,
    /// Whether that is enough.
    pub ok: bool,
}

impl Summary {
    /// The number at a path such as `latency_ms.raw_to_snapshot.p99`.
    pub fn value(&self, path: &str) -> Option<f64> {
        let mut steps = path.splitn(2, '.');
        let (section, rest) = (steps.next()?, steps.next());
        match (section, rest) {
            ("catch_up_seconds", None) => self.catch_up_seconds,
            ("sim_seconds", None) => Some(self.sim_seconds),
            ("wall_seconds", None) => self.wall_seconds,
            ("peak_rss_bytes", None) => self.peak_rss_bytes.map(|bytes| bytes as f64),
            ("counters", Some(name)) => self.counters.get(name).map(|count| *count as f64),
            ("faults", Some(kind)) => Some(self.faults.get(kind).copied().unwrap_or(0) as f64),
            ("queue_max", Some(name)) => self.queue_max.get(name).map(|count| *count as f64),
            ("utilisation", Some(name)) => self.utilisation.get(name).copied(),
            ("latency_ms", Some(rest)) => {
                let (hop, statistic) = rest.rsplit_once('.')?;
                let latency = self.latency_ms.get(hop).filter(|latency| latency.count > 0)?;
                latency.statistic(statistic)
            }
            _ => None,
        }
    }

    /// The rules that broke. Of a run that did not converge it is liveness: what was not evaluated
    /// by then follows from that.
    pub fn broken_rules(&self) -> Vec<&RuleSummary> {
        let did_settle = self.exit_code != NOT_CONVERGED;
        let broken = self.rules.iter().filter(|rule| rule.violations > 0);
        broken.filter(|rule| did_settle || rule.id == "G8").collect()
    }

    /// The broken rule with the earliest evidence; one that found nothing to judge comes last.
    pub fn first_broken(&self) -> Option<&RuleSummary> {
        let event = |rule: &RuleSummary| rule.first.as_ref().map_or(u64::MAX, |first| first.event);
        self.broken_rules().into_iter().min_by_key(|rule| (rule.checks == 0, event(rule)))
    }

    /// `summary.json`.
    pub fn to_json(&self) -> String {
        pretty_json(self)
    }
}

/// A result as the text of a JSON file.
///
/// # Panics
/// If it has keys that are no texts; numbers that are not finite become null.
pub fn pretty_json(result: &(impl Serialize + ?Sized)) -> String {
    let mut text = serde_json::to_string_pretty(result).expect("results have text keys");
    text.push('\n');
    text
}

impl Latency {
    /// Names of the statistics.
    pub const STATISTICS: [&'static str; 5] = ["p50", "p99", "p999", "max", "count"];

    /// A statistic by its name.
    pub fn statistic(&self, name: &str) -> Option<f64> {
        match name {
            "p50" => Some(self.p50),
            "p99" => Some(self.p99),
            "p999" => Some(self.p999),
            "max" => Some(self.max),
            "count" => Some(self.count as f64),
            _ => None,
        }
    }
}
