//! A sweep as JUnit XML, for whatever collects test results: one case a scenario and claim.
//!
//! A case is a rule, a threshold or an expectation over all seeds of a scenario, and says what was
//! measured: a case that failed in its message, one that passed in its output. A known failure is
//! a skipped case. There are no times: they would differ between two machines.

use std::fmt::Write;

use super::summary::{Failures, LostRun, ScenarioSummary, SweepSummary};

/// How a case ended.
enum Ended {
    Passed,
    Failed { message: String, text: String },
    Known(String),
    Lost(String),
}

/// One case.
struct Case {
    name: String,
    measured: String,
    ended: Ended,
}

/// The XML document.
pub fn junit(summary: &SweepSummary) -> String {
    let mut suites: Vec<(String, Vec<Case>)> = summary
        .scenarios
        .iter()
        .map(|scenario| (scenario.scenario.clone(), cases(scenario, summary)))
        .collect();
    let without_result: Vec<Case> = summary.lost.iter().map(lost).collect();
    if !without_result.is_empty() {
        suites.push(("no result".into(), without_result));
    }
    let states: Vec<Case> = if summary.must_reach { states(summary) } else { Vec::new() };
    if !states.is_empty() {
        suites.push(("states reached".into(), states));
    }
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for (name, cases) in &suites {
        suite(&mut out, name, cases);
    }
    out.push_str("</testsuites>\n");
    out
}

fn cases(scenario: &ScenarioSummary, summary: &SweepSummary) -> Vec<Case> {
    let runs = scenario.runs;
    let rules = scenario.rules.iter().map(|rule| {
        let measured =
            format!("{} checks in {runs} runs, {} violations", rule.checks, rule.violations);
        (rule.id.clone(), measured)
    });
    let thresholds = scenario.thresholds.iter().map(|threshold| {
        let measured = format!("measured {} in {runs} runs", threshold.seen);
        (format!("threshold {}", threshold.expr), measured)
    });
    let expectations = scenario.expectations.iter().map(|expectation| {
        let measured = format!("seen {} in {runs} runs", expectation.seen);
        (format!("expectation {}", expectation.expr), measured)
    });
    let mut claims: Vec<(String, String)> = rules.chain(thresholds).chain(expectations).collect();
    let of_scenario =
        |failures: &&Failures| failures.seeds.iter().any(|seeds| seeds.source == scenario.source);
    let failures: Vec<&Failures> = summary.failures.iter().filter(of_scenario).collect();
    for failures in &failures {
        if !claims.iter().any(|(claim, _)| *claim == failures.claim) {
            claims.push((failures.claim.clone(), format!("{runs} runs")));
        }
    }
    let case = |(name, measured): (String, String)| {
        let broken = failures.iter().filter(|failures| failures.claim == name);
        let ended = ended(&measured, scenario, summary, &broken.copied().collect::<Vec<_>>());
        Case { name, measured, ended }
    };
    claims.into_iter().map(case).collect()
}

/// Failures of one claim; those that are not known come first.
fn ended(
    measured: &str,
    scenario: &ScenarioSummary,
    summary: &SweepSummary,
    failures: &[&Failures],
) -> Ended {
    let Some(first) = failures.first() else { return Ended::Passed };
    if let Some(reason) = &first.known {
        return Ended::Known(format!("{measured}; known: {reason}"));
    }
    let mut text = String::new();
    for failures in failures {
        let of_scenario = failures.seeds.iter().filter(|seeds| seeds.source == scenario.source);
        for seed in of_scenario.flat_map(|seeds| &seeds.seeds) {
            let repeat = summary.repeat(&scenario.source, *seed);
            writeln!(text, "{repeat}").expect("a String takes everything");
        }
    }
    Ended::Failed { message: format!("{measured}; {}", first.evidence), text }
}

fn lost(run: &LostRun) -> Case {
    let name = format!("{} seed {}", run.source, run.seed);
    Case { name, measured: String::new(), ended: Ended::Lost(run.said.clone()) }
}

fn states(summary: &SweepSummary) -> Vec<Case> {
    let case = |(state, reached): (&String, &super::Reached)| {
        let measured = format!("reached {} times in {} runs", reached.times, reached.runs);
        let ended = match reached.times {
            0 => Ended::Failed { message: measured.clone(), text: String::new() },
            _ => Ended::Passed,
        };
        Case { name: state.clone(), measured, ended }
    };
    summary.sometimes.iter().map(case).collect()
}

fn suite(out: &mut String, name: &str, cases: &[Case]) {
    let count = |which: fn(&Ended) -> bool| cases.iter().filter(|c| which(&c.ended)).count();
    let name = escaped(name);
    writeln!(
        out,
        "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">",
        cases.len(),
        count(|ended| matches!(ended, Ended::Failed { .. })),
        count(|ended| matches!(ended, Ended::Lost(_))),
        count(|ended| matches!(ended, Ended::Known(_))),
    )
    .expect("a String takes everything");
    for case in cases {
        let ended = match &case.ended {
            Ended::Passed => format!("<system-out>{}</system-out>", escaped(&case.measured)),
            Ended::Failed { message, text } => {
                format!("<failure message=\"{}\">{}</failure>", escaped(message), escaped(text))
            }
            Ended::Known(message) => format!("<skipped message=\"{}\"/>", escaped(message)),
            Ended::Lost(said) => format!("<error message=\"no result\">{}</error>", escaped(said)),
        };
        let case = escaped(&case.name);
        writeln!(out, "    <testcase classname=\"{name}\" name=\"{case}\">{ended}</testcase>")
            .expect("a String takes everything");
    }
    out.push_str("  </testsuite>\n");
}

/// Text as XML takes it, in an attribute too; control characters have no place in XML 1.0.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
