//! The block at the end of a run, for a person: first the verdict, last the command to repeat it.
//!
//! # Invariants
//! - Equal summaries give equal texts; nothing is coloured, so a log shows what a terminal shows.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::meters::HOPS;
use crate::summary::{Latency, Summary, Verdict};

/// Evidence is cut off after so many characters; `summary.json` has all of it.
const EVIDENCE_CHARS: usize = 1_200;

/// The block; `repeat` is the command that repeats the run.
pub fn closing_block(summary: &Summary, repeat: &str) -> String {
    let mut out = String::new();
    verdict(&mut out, summary);
    work(&mut out, summary);
    latencies(&mut out, summary);
    utilisation(&mut out, summary);
    pairs(&mut out, "queues, longest", &summary.queue_max);
    fenced(&mut out, summary);
    pairs(&mut out, "faults injected", &summary.faults);
    pairs(&mut out, "states reached", &summary.sometimes);
    claims(&mut out, summary);
    failures(&mut out, summary);
    // No two runs on real services are equal, so they have none.
    if !summary.fingerprint.is_empty() {
        line(&mut out, "fingerprint", &summary.fingerprint);
    }
    line(&mut out, "repeat with", repeat);
    out
}

/// A word of a command as a shell needs it.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn line(out: &mut String, name: &str, value: impl std::fmt::Display) {
    writeln!(out, "  {name:<17} {value}").expect("a String takes everything");
}

fn verdict(out: &mut String, summary: &Summary) {
    let (verdict, reason) = match (summary.verdict, summary.exit_code) {
        (Verdict::Pass, _) => ("PASS", String::new()),
        (Verdict::Fail, 1) => ("FAIL", format!(": broken {}", broken(summary).join(", "))),
        (Verdict::Fail, 3) => ("FAIL", ": did not converge".into()),
        (Verdict::Fail, 5) => ("FAIL", ": a threshold or an expectation was missed".into()),
        (Verdict::Fail, 130) => ("STOPPED", ": what is known so far".into()),
        (Verdict::Fail, code) => ("FAIL", format!(": exit code {code}")),
    };
    let Summary { scenario, seed, on, .. } = summary;
    writeln!(out, "{verdict}  {scenario}  seed {seed}  on {on}{reason}").expect("a String");
    let is_real = on == "real";
    let mut time = match is_real {
        true => format!("{:.1} s", summary.sim_seconds),
        false => format!("{:.1} s simulated", summary.sim_seconds),
    };
    if let Some(wall) = summary.wall_seconds.filter(|_| !is_real) {
        let ratio = summary.sim_seconds / wall.max(1e-9);
        write!(time, " in {wall:.2} s ({ratio:.0} times as fast)").expect("a String");
    }
    if let Some(bytes) = summary.peak_rss_bytes {
        write!(time, ", {} MiB", bytes / 1_048_576).expect("a String takes everything");
    }
    line(out, "time", time);
    line(out, "commit", &summary.commit);
    if let Some(defect) = &summary.defect {
        line(out, "defect planted", defect);
    }
}

fn broken(summary: &Summary) -> Vec<&str> {
    let rules = summary.rules.iter();
    rules.filter(|rule| rule.violations > 0).map(|rule| rule.id.as_str()).collect()
}

fn work(out: &mut String, summary: &Summary) {
    let count = |name: &str| summary.counters.get(name).copied().unwrap_or(0);
    let checks: u64 = summary.rules.iter().map(|rule| rule.checks).sum();
    line(out, "rules", format!("{} rules, {checks} checks", summary.rules.len()));
    line(out, "inputs", format!("{} sent, {} stored", count("inputs"), count("transactions")));
    line(out, "keys reset", format!("{} ({} keys)", count("keys_reset"), count("keys")));
    let dates = (count("dates_revalued"), count("dates_valued"));
    line(out, "dates revalued", format!("{} of {} valued", dates.0, dates.1));
    let replays = (count("epochs"), count("replay_rows"));
    line(out, "replays", format!("{} epochs, {} history rows", replays.0, replays.1));
    line(
        out,
        "catch-up time",
        match summary.catch_up_seconds {
            Some(seconds) => format!("{seconds:.3} s after the last input or fault"),
            None => "never".into(),
        },
    );
    let left = (count("dead_letters"), count("parked"));
    line(out, "set aside", format!("{} dead letters, {} parked", left.0, left.1));
}

fn latencies(out: &mut String, summary: &Summary) {
    if summary.latency_ms.is_empty() {
        return;
    }
    line(
        out,
        "latency in ms",
        format!("{:>10} {:>10} {:>10} {:>10} {:>9}", "p50", "p99", "p99.9", "max", "count"),
    );
    // In the order of the flow, not of the alphabet.
    let known = HOPS.iter().filter_map(|hop| Some((*hop, summary.latency_ms.get(*hop)?)));
    for (hop, latency) in known {
        let Latency { p50, p99, p999, max, count } = *latency;
        // The name runs into the first column, which is wide and mostly empty.
        let width = 28_usize.saturating_sub(hop.len());
        let row = format!("{p50:>width$.1} {p99:>10.1} {p999:>10.1} {max:>10.1} {count:>9}");
        writeln!(out, "  {hop} {row}").expect("a String takes everything");
    }
}

fn utilisation(out: &mut String, summary: &Summary) {
    if summary.utilisation.is_empty() {
        return;
    }
    let shares: Vec<String> = summary
        .utilisation
        .iter()
        .map(|(process, share)| format!("{process} {:.1} %", share * 100.0))
        .collect();
    wrapped(out, "utilisation", &shares);
}

fn pairs(out: &mut String, name: &str, counts: &BTreeMap<String, u64>) {
    let list: Vec<String> = counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if list.is_empty() {
        line(out, name, "none");
    } else {
        wrapped(out, name, &list);
    }
}

/// A list over as many lines as it needs, 100 columns wide.
fn wrapped(out: &mut String, name: &str, list: &[String]) {
    const WIDTH: usize = 78;
    let mut name = name;
    let mut row = String::new();
    for (number, item) in list.iter().enumerate() {
        if !row.is_empty() && row.len() + item.len() + 2 > WIDTH {
            line(out, name, row.trim_end());
            name = "";
            row.clear();
        }
        row.push_str(item);
        if number + 1 < list.len() {
            row.push_str(", ");
        }
    }
    line(out, name, row.trim_end());
}

fn fenced(out: &mut String, summary: &Summary) {
    let total = summary.counters.get("fenced").copied().unwrap_or(0);
    let by: Vec<String> = summary
        .fenced_producers
        .iter()
        .map(|(producer, count)| format!("{count} from {producer}"))
        .collect();
    let by = if by.is_empty() { String::new() } else { format!(": {}", by.join(", ")) };
    line(out, "messages fenced", format!("{total}{by}"));
}

fn claims(out: &mut String, summary: &Summary) {
    for expectation in &summary.expectations {
        let mark = if expectation.ok { "ok" } else { "MISSED" };
        line(out, "expected", format!("{} [{}] {mark}", expectation.expected, expectation.seen));
    }
    for threshold in &summary.thresholds {
        let mark = if threshold.ok { "ok" } else { "MISSED" };
        let value = threshold.value.map_or("never measured".into(), |value| format!("{value:.3}"));
        line(out, "threshold", format!("{} [{value}] {mark}", threshold.expr));
    }
}

fn failures(out: &mut String, summary: &Summary) {
    for note in &summary.notes {
        line(out, "note", note);
    }
    for rule in summary.rules.iter().filter(|rule| rule.violations > 0) {
        line(out, "broken rule", format!("{}, {} times", rule.id, rule.violations));
        if let Some(first) = &rule.first {
            line(out, "  first", format!("at {}, event {}", first.at, first.event));
            let evidence: String = first.evidence.chars().take(EVIDENCE_CHARS).collect();
            for (number, text) in evidence.lines().enumerate() {
                line(out, if number == 0 { "  evidence" } else { "" }, text);
            }
        }
    }
}
