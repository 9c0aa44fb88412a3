//! A sweep for a person: first the verdict, then what failed and how to repeat it.

use std::fmt::Write;

use super::summary::{Failures, SweepSummary};
use crate::summary::Verdict;

/// Evidence is cut off after so many characters; `suite.json` has all of it.
const EVIDENCE_CHARS: usize = 600;
/// Seeds of one scenario that are listed.
const LISTED_SEEDS: usize = 10;

/// The text; `stopped` says why there are runs without a result, `saved` is the folder.
pub fn text(summary: &SweepSummary, stopped: Option<&str>, saved: Option<&str>) -> String {
    let mut out = String::new();
    let verdict = match (stopped, summary.verdict) {
        (_, Verdict::Fail) => "FAIL",
        (Some(_), _) => "STOPPED",
        (None, Verdict::Pass) => "PASS",
    };
    let SweepSummary { runs, passed, failed, known, .. } = summary;
    let scenarios = summary.scenarios.len();
    write!(out, "{verdict}  {scenarios} scenarios, {runs} runs: {passed} passed, {failed} failed")
        .expect("a String takes everything");
    if *known > 0 {
        write!(out, ", {known} failed as known").expect("a String takes everything");
    }
    out.push('\n');
    if let Some(why) = stopped {
        line(&mut out, "stopped", why);
    }
    line(&mut out, "commit", &summary.commit);
    if let Some(defect) = &summary.defect {
        line(&mut out, "planted", defect);
    }
    for scenario in &summary.scenarios {
        let checks: u64 = scenario.rules.iter().map(|rule| rule.checks).sum();
        let (passed, runs) = (scenario.passed, scenario.runs);
        let name = &scenario.scenario;
        let row = format!("{name:<40} {passed:>5} of {runs:<5} passed, {checks} checks");
        line(&mut out, "", row);
    }
    states(&mut out, summary);
    for failures in &summary.failures {
        group(&mut out, failures, saved);
    }
    for lost in &summary.lost {
        out.push('\n');
        line(&mut out, "no result", format!("{} seed {}", lost.source, lost.seed));
        lines(&mut out, "it said", &lost.said);
        line(&mut out, "repeat with", summary.repeat(&lost.source, lost.seed));
    }
    for known in &summary.known_unused {
        let what = format!("{} of {} did not occur: {}", known.rule, known.scenario, known.reason);
        line(&mut out, "known failure", what);
    }
    if let Some(folder) = saved {
        line(&mut out, "results in", folder);
    }
    out
}

fn states(out: &mut String, summary: &SweepSummary) {
    let reached = summary.sometimes.iter().filter(|(_, reached)| reached.times > 0);
    for (number, (state, reached)) in reached.enumerate() {
        let title = if number == 0 { "states reached" } else { "" };
        let row = format!("{state:<32} {:>8} times in {} runs", reached.times, reached.runs);
        line(out, title, row);
    }
    if !summary.never_reached.is_empty() {
        let mark = if summary.must_reach { " MISSED" } else { "" };
        line(out, "never reached", format!("{}{mark}", summary.never_reached.join(", ")));
    }
}

fn group(out: &mut String, failures: &Failures, saved: Option<&str>) {
    out.push('\n');
    line(out, &failures.claim, format!("broke in {} runs", failures.runs));
    if let Some(reason) = &failures.known {
        line(out, "known", reason);
    }
    lines(out, "evidence", &failures.evidence);
    for of_scenario in &failures.seeds {
        let seeds = &of_scenario.seeds;
        let listed: Vec<String> = seeds.iter().take(LISTED_SEEDS).map(u64::to_string).collect();
        let more = match seeds.len().saturating_sub(LISTED_SEEDS) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let row = format!("{} seeds {}{more}", of_scenario.scenario, listed.join(", "));
        line(out, "in", row);
    }
    if let (Some(folder), Some(within)) = (saved, &failures.saved) {
        line(out, "saved in", format!("{folder}/{within}"));
    }
    line(out, "repeat with", &failures.repeat);
}

fn lines(out: &mut String, name: &str, text: &str) {
    let cut: String = text.chars().take(EVIDENCE_CHARS).collect();
    for (number, text) in cut.lines().enumerate() {
        line(out, if number == 0 { name } else { "" }, text);
    }
}

fn line(out: &mut String, name: &str, value: impl std::fmt::Display) {
    writeln!(out, "  {name:<15} {value}").expect("a String takes everything");
}
