//! Named crash points: `process/call/before` and `process/call/after`.
//!
//! The engine names its port calls; here stand their full names, as scenario files and `list` write
//! them, and who hosts them.

use backdate_engine::ports::host::Side;
use backdate_engine::runtime::ProcessKind;
use backdate_engine::services::PORT_CALLS;
use smol_str::{SmolStr, format_smolstr};

use super::problem::hint;

/// A named point.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// Part of the engine, e.g. `replayer`.
    pub process: &'static str,
    /// Port call.
    pub call: &'static str,
    /// Before or after it.
    pub side: Side,
}

impl Point {
    /// The kind of process in which it is passed.
    pub fn host(&self) -> ProcessKind {
        // The replayer runs beside the consumer of its position-calculator.
        ProcessKind::parse(self.process).unwrap_or(ProcessKind::PositionCalculator)
    }

    /// Its name.
    pub fn name(&self) -> SmolStr {
        let side = match self.side {
            Side::Before => "before",
            Side::After => "after",
        };
        format_smolstr!("{}/{}/{side}", self.process, self.call)
    }
}

/// All points, in the order of the engine's passes.
pub fn all() -> impl Iterator<Item = Point> {
    PORT_CALLS.iter().flat_map(|(process, calls)| {
        calls.iter().flat_map(move |call| {
            [Side::Before, Side::After].map(|side| Point { process, call, side })
        })
    })
}

/// The points that a scenario names: one by its name, or `all PROCESS`.
pub fn select(text: &str) -> Result<Vec<Point>, String> {
    if let Some(process) = text.strip_prefix("all ") {
        let found: Vec<Point> = all().filter(|point| point.process == process).collect();
        if found.is_empty() {
            let names: Vec<&str> = PORT_CALLS.iter().map(|(process, _)| *process).collect();
            return Err(format!("no process {process:?}: {}", hint(process, names)));
        }
        return Ok(found);
    }
    if let Some(point) = all().find(|point| point.name() == text) {
        return Ok(vec![point]);
    }
    let names: Vec<SmolStr> = all().map(|point| point.name()).collect();
    let cure = match super::problem::closest(text, names.iter().map(SmolStr::as_str)) {
        Some(name) => format!("did you mean {name}?"),
        None => "`backdate list` shows the crash points".into(),
    };
    Err(format!("no crash point {text:?}: {cure}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_selected_by_name_and_by_process() {
        let all_of_replayer = select("all replayer").expect("exists");
        assert!(all_of_replayer.iter().all(|p| p.host() == ProcessKind::PositionCalculator));
        assert!(all_of_replayer.len() >= 20, "before and after every port call");
        for point in all() {
            assert_eq!(select(&point.name()).expect("its own name"), [point]);
        }
        let typo = select("replayer/UpsertReplay/before").expect_err("a typo");
        assert!(typo.contains("did you mean replayer/UpsertReplays/before?"), "{typo}");
        assert!(select("all replayers").expect_err("a typo").contains("did you mean replayer?"));
    }
}
