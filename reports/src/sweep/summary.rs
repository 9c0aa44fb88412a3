//! `suite.json`: what a sweep came to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::known::Known;
use super::result::RunResult;
use crate::summary::{Verdict, pretty_json, worst_exit_code};
use crate::text::quoted;

/// Version of the schema.
const SCHEMA_VERSION: u32 = 1;
/// A threshold was missed, or a state never reached.
const THRESHOLD: u8 = 5;
/// The machine was in the way.
const ENVIRONMENT: u8 = 6;

/// What a summary needs besides the results.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Commit of the build.
    pub commit: String,
    /// The defect that was planted.
    pub defect: Option<String>,
    /// Failures that are known.
    pub known: Vec<Known>,
    /// All states that there are.
    pub states: Vec<String>,
    /// Whether each of them must have been reached.
    pub must_reach: bool,
    /// Runs whose process died.
    pub lost: Vec<LostRun>,
}

/// A sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepSummary {
    /// Version of this schema.
    pub schema_version: u32,
    /// Pass or fail.
    pub verdict: Verdict,
    /// What the command ends with.
    pub exit_code: u8,
    /// Commit of the build.
    pub commit: String,
    /// The defect that was planted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defect: Option<String>,
    /// Runs with a result.
    pub runs: u64,
    /// Runs that passed.
    pub passed: u64,
    /// Runs that failed in a way that is not known.
    pub failed: u64,
    /// Runs that failed, but only in known ways.
    pub known: u64,
    /// Scenarios, in the order in which they were named.
    pub scenarios: Vec<ScenarioSummary>,
    /// What failed, the most frequent first.
    pub failures: Vec<Failures>,
    /// Runs without a result.
    pub lost: Vec<LostRun>,
    /// Known failures that did not occur.
    pub known_unused: Vec<Known>,
    /// Interesting states by name.
    pub sometimes: BTreeMap<String, Reached>,
    /// Interesting states that no run reached.
    pub never_reached: Vec<String>,
    /// Whether that fails the sweep.
    pub must_reach: bool,
}

/// One scenario under all of its seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScenarioSummary {
    /// File.
    pub source: String,
    /// Name.
    pub scenario: String,
    /// Runs with a result.
    pub runs: u64,
    /// Runs that passed.
    pub passed: u64,
    /// What each rule says over all seeds.
    pub rules: Vec<RuleTotal>,
    /// Thresholds with the range of what was measured.
    pub thresholds: Vec<Measured>,
    /// Expectations, each with what was seen.
    pub expectations: Vec<Measured>,
}

/// A rule over all seeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleTotal {
    /// Name.
    pub id: String,
    /// How often it was evaluated.
    pub checks: u64,
    /// How often it was broken.
    pub violations: u64,
}

/// A threshold or an expectation over all seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// What must hold.
    pub expr: String,
    /// What was seen: a range of numbers, or the first text.
    pub seen: String,
    /// Runs in which it did not hold.
    pub missed: u64,
}

/// Runs that fail in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// The claim that does not hold.
    pub claim: String,
    /// Evidence of the first of them.
    pub evidence: String,
    /// How many runs.
    pub runs: u64,
    /// Why it is carried, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<String>,
    /// Which runs.
    pub seeds: Vec<Seeds>,
    /// The command that repeats the first one.
    pub repeat: String,
    /// Folder of the first one within the folder of the sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<String>,
}

/// Seeds of one scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seeds {
    /// File.
    pub source: String,
    /// Name.
    pub scenario: String,
    /// Seeds.
    pub seeds: Vec<u64>,
}

/// A run whose process died each time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRun {
    /// File.
    pub source: String,
    /// Seed.
    pub seed: u64,
    /// How it ended and what it said.
    pub said: String,
}

/// How often a state was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Times, over all runs.
    pub times: u64,
    /// Runs in which it was.
    pub runs: u64,
}

impl SweepSummary {
    /// What the results come to; they are in order of scenario and seed.
    pub fn of(results: &[RunResult], context: &Context) -> Self {
        let mut groups = Groups::new(context);
        let mut codes = Vec::new();
        let (mut passed, mut known) = (0, 0);
        for run in results {
            match (run.passed, groups.add(run)) {
                (true, _) => passed += 1,
                (false, true) => known += 1,
                (false, false) => codes.push(run.exit_code),
            }
        }
        let sometimes = reached(results, &context.states);
        let never_reached: Vec<String> =
            sometimes.iter().filter(|(_, r)| r.times == 0).map(|(name, _)| name.clone()).collect();
        let failed = codes.len() as u64;
        if !context.lost.is_empty() {
            codes.push(ENVIRONMENT);
        }
        if context.must_reach && !never_reached.is_empty() {
            codes.push(THRESHOLD);
        }
        let exit_code = worst_exit_code(codes);
        Self {
            schema_version: SCHEMA_VERSION,
            verdict: if exit_code == 0 { Verdict::Pass } else { Verdict::Fail },
            exit_code,
            commit: context.commit.clone(),
            defect: context.defect.clone(),
            runs: results.len() as u64,
            passed,
            failed,
            known,
            scenarios: scenarios(results),
            known_unused: groups.unused(),
            failures: groups.sorted(),
            lost: context.lost.clone(),
            sometimes,
            never_reached,
            must_reach: context.must_reach,
        }
    }

    /// The command that repeats a run.
    pub fn repeat(&self, source: &str, seed: u64) -> String {
        repeat(source, seed, self.defect.as_deref())
    }

    /// `suite.json`.
    pub fn to_json(&self) -> String {
        pretty_json(self)
    }
}

/// The command that repeats a run.
fn repeat(source: &str, seed: u64, defect: Option<&str>) -> String {
    let defect = defect.map_or_else(String::new, |name| format!(" --defect {name}"));
    format!("backdate run {} --seed {seed}{defect}", quoted(source))
}

/// Failures by claim and shape of the evidence.
struct Groups<'a> {
    known: &'a [Known],
    defect: Option<&'a str>,
    used: Vec<bool>,
    groups: BTreeMap<(String, String, Option<String>), Failures>,
}

impl<'a> Groups<'a> {
    fn new(context: &'a Context) -> Self {
        let (known, defect) = (&context.known[..], context.defect.as_deref());
        Self { known, defect, used: vec![false; known.len()], groups: BTreeMap::new() }
    }

    /// Adds the complaints of a run; whether all of them are known.
    fn add(&mut self, run: &RunResult) -> bool {
        let mut all_known = !run.complaints.is_empty();
        for complaint in &run.complaints {
            let number = self.known.iter().position(|known| known.covers(run, complaint));
            let reason = number.map(|number| {
                self.used[number] = true;
                self.known[number].reason.clone()
            });
            all_known &= reason.is_some();
            let key = (complaint.claim.clone(), shape(&complaint.evidence), reason);
            let group = self.groups.entry(key).or_insert_with_key(|(_, _, reason)| Failures {
                claim: complaint.claim.clone(),
                evidence: complaint.evidence.clone(),
                runs: 0,
                known: reason.clone(),
                seeds: Vec::new(),
                repeat: repeat(&run.source, run.seed, self.defect),
                saved: run.saved.clone(),
            });
            group.runs += 1;
            match group.seeds.last_mut() {
                Some(last) if last.source == run.source => last.seeds.push(run.seed),
                _ => group.seeds.push(Seeds {
                    source: run.source.clone(),
                    scenario: run.scenario.clone(),
                    seeds: vec![run.seed],
                }),
            }
        }
        all_known
    }

    fn unused(&self) -> Vec<Known> {
        let entries = self.known.iter().zip(&self.used);
        entries.filter(|(_, used)| !**used).map(|(known, _)| known.clone()).collect()
    }

    /// New failures first, then the most frequent.
    fn sorted(self) -> Vec<Failures> {
        let mut groups: Vec<Failures> = self.groups.into_values().collect();
        groups.sort_by_key(|group| (group.known.is_some(), std::cmp::Reverse(group.runs)));
        groups
    }
}

/// Evidence without what differs from seed to seed: words with a digit or of a key.
fn shape(evidence: &str) -> String {
    let varies = |word: &str| word.contains(|c: char| c.is_ascii_digit() || c == '/');
    let words = evidence.split_whitespace().map(|word| if varies(word) { "#" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

fn scenarios(results: &[RunResult]) -> Vec<ScenarioSummary> {
    let by_source = results.chunk_by(|a, b| a.source == b.source);
    by_source.map(|runs| scenario(runs, &runs[0])).collect()
}

fn scenario(runs: &[RunResult], first: &RunResult) -> ScenarioSummary {
    let mut rules: BTreeMap<&str, RuleTotal> = BTreeMap::new();
    for rule in runs.iter().flat_map(|run| &run.rules) {
        let id = rule.id.clone();
        let total = rules.entry(&rule.id).or_insert(RuleTotal { id, checks: 0, violations: 0 });
        total.checks += rule.checks;
        total.violations += rule.violations;
    }
    let order = first.rules.iter().filter_map(|rule| rules.remove(rule.id.as_str())).collect();
    ScenarioSummary {
        source: first.source.clone(),
        scenario: first.scenario.clone(),
        runs: runs.len() as u64,
        passed: runs.iter().filter(|run| run.passed).count() as u64,
        rules: order,
        thresholds: thresholds(runs),
        expectations: expectations(runs),
    }
}

fn thresholds(runs: &[RunResult]) -> Vec<Measured> {
    let mut by_expr: BTreeMap<&str, (Vec<f64>, u64)> = BTreeMap::new();
    for threshold in runs.iter().flat_map(|run| &run.thresholds) {
        let (values, missed) = by_expr.entry(&threshold.expr).or_default();
        values.extend(threshold.value);
        *missed += u64::from(!threshold.ok);
    }
    let measured = |(expr, (mut values, missed)): (&str, (Vec<f64>, u64))| {
        values.sort_by(f64::total_cmp);
        let seen = match (values.first(), values.last()) {
            (Some(least), Some(most)) if least < most => format!("{least} to {most}"),
            (Some(value), _) => value.to_string(),
            _ => "never measured".into(),
        };
        Measured { expr: expr.to_owned(), seen, missed }
    };
    by_expr.into_iter().map(measured).collect()
}

fn expectations(runs: &[RunResult]) -> Vec<Measured> {
    let mut by_expr: BTreeMap<&str, Measured> = BTreeMap::new();
    for expectation in runs.iter().flat_map(|run| &run.expectations) {
        let measured = by_expr.entry(&expectation.expected).or_insert_with(|| Measured {
            expr: expectation.expected.clone(),
            seen: expectation.seen.clone(),
            missed: 0,
        });
        if !expectation.ok && measured.missed == 0 {
            measured.seen.clone_from(&expectation.seen);
        }
        measured.missed += u64::from(!expectation.ok);
    }
    by_expr.into_values().collect()
}

fn reached(results: &[RunResult], states: &[String]) -> BTreeMap<String, Reached> {
    let mut all: BTreeMap<String, Reached> =
        states.iter().map(|state| (state.clone(), Reached::default())).collect();
    for (state, times) in results.iter().flat_map(|run| &run.sometimes) {
        let reached = all.entry(state.clone()).or_default();
        reached.times += times;
        reached.runs += 1;
    }
    all
}
