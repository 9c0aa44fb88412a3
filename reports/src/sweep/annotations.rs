//! Annotations of a GitHub workflow: what failed, at the file of its scenario.

use super::summary::{Seeds, SweepSummary};

/// One command (`::error file=...`) a failing scenario and claim; known failures are warnings.
pub fn annotations(summary: &SweepSummary) -> String {
    let mut out = String::new();
    for failures in &summary.failures {
        let command = if failures.known.is_some() { "warning" } else { "error" };
        let title = property(&format!("{} broke", failures.claim));
        for Seeds { source, scenario, seeds } in &failures.seeds {
            let first = seeds.first().copied().unwrap_or_default();
            let known = failures.known.iter().map(|reason| format!("\nknown: {reason}"));
            let message = format!(
                "{scenario}: {} runs, first seed {first}: {}\nrepeat with: {}{}",
                seeds.len(),
                failures.evidence,
                summary.repeat(source, first),
                known.collect::<String>(),
            );
            let file = property(source);
            out += &format!("::{command} file={file},line=1,title={title}::{}\n", data(&message));
        }
    }
    for lost in &summary.lost {
        let message = format!("seed {}: {}", lost.seed, lost.said);
        let file = property(&lost.source);
        out += &format!("::error file={file},line=1,title=no result::{}\n", data(&message));
    }
    for state in summary.never_reached.iter().filter(|_| summary.must_reach) {
        out += &format!("::error title=never reached::{}\n", data(state));
    }
    out
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
