//! Thresholds: expressions over a summary that fail a build, e.g. `catch_up_seconds <= 120`.
//!
//! An expression is a path, a comparison and a number. A path that no run could ever fill is
//! refused when the scenario is read, not when the run is over.

use crate::meters::{COUNTERS, HOPS, QUEUES};
use crate::summary::{Latency, Summary, ThresholdSummary};

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
}

/// Two letters come before their first letter alone.
const COMPARISONS: [(&str, Comparison); 5] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("==", Comparison::Equal),
    ("<", Comparison::Below),
    (">", Comparison::Above),
];

/// A threshold that can be judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    expression: String,
    path: String,
    comparison: Comparison,
    bound: f64,
}

impl Threshold {
    /// Reads an expression; says what is wrong with it otherwise.
    pub fn parse(expression: &str) -> Result<Self, String> {
        let (at, symbol, comparison) = COMPARISONS
            .iter()
            .find_map(|(symbol, comparison)| Some((expression.find(symbol)?, *symbol, *comparison)))
            .ok_or("has no comparison: write it like catch_up_seconds <= 120")?;
        let path = expression[..at].trim();
        let bound = expression[at + symbol.len()..].trim();
        let bound: f64 = bound
            .parse()
            .ok()
            .filter(|bound: &f64| bound.is_finite())
            .ok_or_else(|| format!("{bound:?} is no number: compare with a number"))?;
        check_path(path)?;
        Ok(Self { expression: expression.to_owned(), path: path.to_owned(), comparison, bound })
    }

    /// Compares with what a run came to; what was never measured misses every threshold.
    pub fn judge(&self, summary: &Summary) -> ThresholdSummary {
        let value = summary.value(&self.path);
        let ok = value.is_some_and(|value| match self.comparison {
            Comparison::AtMost => value <= self.bound,
            Comparison::Below => value < self.bound,
            Comparison::AtLeast => value >= self.bound,
            Comparison::Above => value > self.bound,
            Comparison::Equal => value == self.bound,
        });
        ThresholdSummary { expr: self.expression.clone(), value, ok }
    }
}

fn check_path(path: &str) -> Result<(), String> {
    const PLAIN: [&str; 4] = ["catch_up_seconds", "sim_seconds", "wall_seconds", "peak_rss_bytes"];
    const SECTIONS: [&str; 5] = ["counters", "faults", "queue_max", "utilisation", "latency_ms"];
    let (section, rest) = match path.split_once('.') {
        Some((section, rest)) => (section, Some(rest)),
        None => (path, None),
    };
    match (section, rest) {
        (_, None) if PLAIN.contains(&path) => Ok(()),
        ("counters", Some(name)) => known(path, name, COUNTERS),
        ("queue_max", Some(name)) => known(path, name, QUEUES),
        // Which faults and processes there are is for the scenario to know.
        ("faults" | "utilisation", Some(_)) => Ok(()),
        ("latency_ms", Some(rest)) => {
            let (hop, statistic) = rest.rsplit_once('.').unwrap_or((rest, ""));
            known(path, hop, HOPS)?;
            known(path, statistic, &Latency::STATISTICS)
        }
        _ => known(path, path, &[PLAIN.as_slice(), SECTIONS.as_slice()].concat()),
    }
}

fn known(path: &str, name: &str, names: &[&str]) -> Result<(), String> {
    if names.contains(&name) {
        return Ok(());
    }
    let near = names
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len() / 3 + 1)
        .min();
    Err(match near {
        Some((_, candidate)) => format!("unknown metric {path}: did you mean {candidate}?"),
        None => format!("unknown metric {path}: expected one of {}", names.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_metrics_that_a_run_can_fill_are_accepted() {
        for good in [
            "catch_up_seconds <= 120",
            "latency_ms.raw_to_snapshot.p99<2000",
            "counters.fenced >= 1",
            "queue_max.outbox > 0",
            "utilisation.postgres <= 0.9",
            "counters.integrity_errors == 0",
        ] {
            Threshold::parse(good).expect(good);
        }
        for (bad, why) in [
            ("catch_up_seconds", "no comparison"),
            ("catch_up_seconds <= soon", "no number"),
            ("catch_up_second <= 1", "did you mean catch_up_seconds?"),
            ("latency_ms.raw_to_snapshots.p99 <= 1", "did you mean raw_to_snapshot?"),
            ("latency_ms.raw_to_snapshot.p98 <= 1", "unknown metric"),
            ("counters.fence <= 1", "did you mean fenced?"),
        ] {
            let told = Threshold::parse(bad).expect_err(bad);
            assert!(told.contains(why), "{bad}: {told}");
        }
    }
}
