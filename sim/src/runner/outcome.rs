//! What a run comes to: its summary, with the verdict and the exit code.

use backdate_engine::ports::store::statements::Backlog;
use backdate_reports::meters::Meters;
use backdate_reports::recording::Phase;
use backdate_reports::summary::{
    ExpectationSummary, RuleSummary, SCHEMA_VERSION, Summary, Verdict, ViolationSummary,
};
use backdate_reports::thresholds::Threshold;

use super::stage::Finished;
use crate::oracle::RuleReport;
use crate::scenario::plan::Plan;
use crate::scenario::points;

/// Exit codes of the commands; if several apply: 2, 6, 4, 1, 3, 5.
pub mod exit {
    /// Everything holds.
    pub const PASS: u8 = 0;
    /// A rule broke.
    pub const RULE: u8 = 1;
    /// Usage, or a bad input file.
    pub const USAGE: u8 = 2;
    /// It did not converge.
    pub const NOT_CONVERGED: u8 = 3;
    /// Two runs of one seed differ.
    pub const NONDETERMINISM: u8 = 4;
    /// A threshold was missed, or what a scenario is about did not happen.
    pub const THRESHOLD: u8 = 5;
    /// A server, a disk or a port.
    pub const ENVIRONMENT: u8 = 6;
    /// Ctrl-C.
    pub const INTERRUPTED: u8 = 130;
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything settled.
    Settled,
    /// A rule broke.
    RuleBroken,
    /// Nothing moved any more, or the time was up.
    NotConverged {
        /// In which phase.
        phase: Phase,
        /// What was left to do.
        backlog: Backlog,
        /// Records that were not committed.
        lag: u64,
    },
    /// Ctrl-C.
    Interrupted,
    /// The stage could not go on.
    Failed(String),
}

/// What a run came to.
pub struct Outcome {
    /// The summary, without wall time and memory.
    pub summary: Summary,
    /// How it ended.
    pub end: End,
}

impl Outcome {
    pub(super) fn new(plan: &Plan, finished: Finished, end: End) -> Self {
        let mut summary = Summary {
            schema_version: SCHEMA_VERSION,
            verdict: Verdict::Pass,
            exit_code: exit::PASS,
            scenario: plan.name.clone(),
            on: finished.on.into(),
            seed: plan.seed,
            commit: String::new(),
            defect: None,
            fingerprint: finished.fingerprint_text(),
            plan: None,
            sim_seconds: finished.ended.seconds(),
            wall_seconds: None,
            peak_rss_bytes: None,
            rules: finished.verdict.rules.iter().map(rule).collect(),
            counters: Default::default(),
            catch_up_seconds: None,
            faults: Default::default(),
            sometimes: Default::default(),
            utilisation: finished.utilisation,
            queue_max: Default::default(),
            latency_ms: Default::default(),
            thresholds: Vec::new(),
            expectations: Vec::new(),
            fenced_producers: Default::default(),
            notes: notes(&end).into_iter().chain(finished.notes).collect(),
        };
        finished.meters.fill(&mut summary);
        if end == End::Settled {
            summary.expectations = expectations(plan, &finished.meters);
            summary.expectations.extend(unbroken(plan, &summary.rules));
            summary.thresholds = plan
                .thresholds
                .iter()
                .filter_map(|text| Threshold::parse(text).ok())
                .map(|threshold| threshold.judge(&summary))
                .collect();
        }
        summary.exit_code = exit_code(&summary, &end);
        if summary.exit_code != exit::PASS {
            summary.verdict = Verdict::Fail;
        }
        Self { summary, end }
    }
}

fn exit_code(summary: &Summary, end: &End) -> u8 {
    let is_broken = summary.rules.iter().any(|rule| rule.violations > 0);
    let is_missed = summary.thresholds.iter().any(|threshold| !threshold.ok)
        || summary.expectations.iter().any(|expectation| !expectation.ok);
    match end {
        End::Interrupted => exit::INTERRUPTED,
        End::Failed(_) => exit::ENVIRONMENT,
        _ if is_broken && !matches!(end, End::NotConverged { .. }) => exit::RULE,
        // What did not converge also breaks the rule of liveness; the code says which it was,
        // unless another rule broke as well.
        End::NotConverged { .. } if breaks_more_than_liveness(summary) => exit::RULE,
        End::NotConverged { .. } => exit::NOT_CONVERGED,
        _ if is_missed => exit::THRESHOLD,
        _ => exit::PASS,
    }
}

/// Whether a rule broke for another reason than that the run did not settle.
pub(crate) fn breaks_more_than_liveness(summary: &Summary) -> bool {
    summary.rules.iter().any(|rule| rule.violations > 0 && rule.checks > 0 && rule.id != "G8")
}

fn notes(end: &End) -> Vec<String> {
    match end {
        End::NotConverged { phase, backlog, lag } => vec![format!(
            "did not converge in the {phase:?}: {} keys behind, {} outbox rows, {} triggers, {} \
             fan-out jobs, {} replays, {} valuation jobs, {lag} records of lag",
            backlog.keys_behind,
            backlog.outbox_events,
            backlog.triggers,
            backlog.reprocessing_jobs,
            backlog.replays,
            backlog.valuation_jobs,
        )],
        End::Interrupted => vec!["interrupted: what is known so far".into()],
        End::Failed(why) => vec![format!("could not go on: {why}")],
        End::Settled | End::RuleBroken => Vec::new(),
    }
}

/// What a rule says, as a summary has it.
pub(crate) fn rule(report: &RuleReport) -> RuleSummary {
    RuleSummary {
        id: report.id.to_string(),
        checks: report.checks,
        violations: report.violations,
        first: report.first.as_ref().map(|evidence| ViolationSummary {
            at: evidence.at,
            event: evidence.event,
            evidence: evidence.text.clone(),
        }),
    }
}

/// The rule that must break, if it holds to the end.
fn unbroken(plan: &Plan, rules: &[RuleSummary]) -> Option<ExpectationSummary> {
    let id = plan.breaks?.to_string();
    let is_broken = rules.iter().any(|rule| rule.id == id && rule.violations > 0);
    let expected = format!("{id} breaks");
    (!is_broken).then(|| ExpectationSummary { expected, seen: "it holds".into(), ok: false })
}

/// Whether processes died at each point that a text names; if not, the points where they did not.
fn deaths(text: &str, least: u64, meters: &Meters) -> ExpectationSummary {
    let points = points::select(text).unwrap_or_default();
    let deaths = points.iter().map(|point| (point.name(), meters.deaths_at(&point.name())));
    let missing = deaths.filter(|(_, deaths)| *deaths < least);
    let missing: Vec<String> =
        missing.map(|(name, deaths)| format!("{name} ({deaths} times)")).collect();
    let reached = points.len() - missing.len();
    let seen = match missing.is_empty() {
        true => format!("all {reached}"),
        false => format!("{reached} of {}; too few at {}", points.len(), missing.join(", ")),
    };
    let expected = match least {
        1 => format!("a crash at {text}"),
        _ => format!("{least} crashes at {text}"),
    };
    ExpectationSummary { expected, seen, ok: missing.is_empty() }
}

/// What the scenario is about, and whether it happened.
fn expectations(plan: &Plan, meters: &Meters) -> Vec<ExpectationSummary> {
    // Readers that are answered nothing show nothing wrong.
    let reads = plan.readers.answered_min(plan.phases.storm_ms);
    let reads = Some(plan.expect.reads_min.unwrap_or(reads)).filter(|least| *least > 0);
    let mut list: Vec<ExpectationSummary> = plan
        .expect
        .counters()
        .chain(reads.map(|least| ("reads", least)))
        .map(|(name, least)| {
            let seen = meters.counter(name);
            let expected = format!("{name} >= {least}");
            ExpectationSummary { expected, seen: seen.to_string(), ok: seen >= least }
        })
        .collect();
    for producer in &plan.expect.fenced_producers {
        let seen = meters.fenced_producers().get(producer).copied().unwrap_or(0);
        let expected = format!("stale messages of {producer} are fenced");
        list.push(ExpectationSummary { expected, seen: seen.to_string(), ok: seen > 0 });
    }
    let least = plan.expect.deaths_per_point_min.unwrap_or(1);
    for text in &plan.expect.points {
        list.push(deaths(text, least, meters));
    }
    list
}
