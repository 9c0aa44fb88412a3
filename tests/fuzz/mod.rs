//! Differential runs: a generated schedule runs on the simulated and on the real service through
//! the same port, and whatever can be observed must agree, step by step.
//!
//! The environment says how much is run:
//!
//! - `BACKDATE_FUZZ_DATABASE`, `BACKDATE_FUZZ_BROKER`: how many schedules (300 and 25 by default);
//! - `BACKDATE_FUZZ_FIRST`: the seed of the first one (1 by default);
//! - `BACKDATE_FUZZ_SEED`: this seed alone, with its whole course.
//!
//! Seeds that once differed stand in `seeds` and always run. What is known to differ, and why that
//! does no harm, stands in `ledger.md`; nothing else may. How to repeat the long run, and what it
//! came to, is in `long_run.txt`.

mod broker;
mod database;

use std::fmt::{self, Write};

use crate::support::variable;

/// What to run.
#[derive(Debug)]
struct Plan {
    seeds: Vec<u64>,
    /// Whether the course of a schedule is printed although it agrees.
    is_single: bool,
}

impl Plan {
    /// The seeds that are kept, and as many others as the environment wants.
    fn of(counter: &str, default: u64, kept: &str) -> Self {
        let number = |name| {
            variable(name).map(|text| text.parse::<u64>().unwrap_or_else(|e| panic!("{name}: {e}")))
        };
        if let Some(seed) = number("BACKDATE_FUZZ_SEED") {
            return Self { seeds: vec![seed], is_single: true };
        }
        let lines = kept.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let mut seeds: Vec<u64> = lines
            .filter(|line| !line.is_empty())
            .map(|line| line.parse().expect("a line is a number and a remark"))
            .collect();
        let first = number("BACKDATE_FUZZ_FIRST").unwrap_or(1);
        seeds.extend(first..first + number(counter).unwrap_or(default));
        Self { seeds, is_single: false }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.seeds.first(), self.seeds.last()) {
            (Some(first), Some(last)) => write!(f, "seeds {first} to {last}"),
            _ => f.write_str("no seeds"),
        }
    }
}

/// What a schedule came to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Both agree to the end.
    Agrees,
    /// Both agree up to what the ledger has under that name, from where on they may go apart.
    Ledger(&'static str),
    /// The index of the first line that differs.
    Differs(usize),
}

/// Both courses side by side, around the first line that differs.
fn side_by_side(simulated: &[String], real: &[String], at: usize) -> String {
    let mut text = String::new();
    for line in &simulated[at.saturating_sub(60)..at] {
        let _ = writeln!(text, "            {line}");
    }
    let end = || "(nothing more)".to_owned();
    for (who, lines) in [("simulated", simulated), ("real     ", real)] {
        let _ = writeln!(text, "{who} > {}", lines.get(at).cloned().unwrap_or_else(end));
    }
    text
}

/// Says something of a run that takes its time.
#[allow(clippy::print_stderr, reason = "the seeds and the pace of a run are to be seen")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// How long something takes.
struct Stopwatch(std::time::Instant);

impl Stopwatch {
    #[allow(clippy::disallowed_methods, reason = "the pace of a run is measured on the machine")]
    fn start() -> Self {
        Self(std::time::Instant::now())
    }

    #[allow(clippy::disallowed_methods, reason = "the pace of a run is measured on the machine")]
    fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}
