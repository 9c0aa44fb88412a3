//! Shared pieces of the benchmarks: where their results go, and how runs are measured.
//!
//! Each benchmark adds its lines to `target/bench.json`, a list of [`Line`]s sorted by name; a line
//! of the same name is replaced. So the file holds the last result of every benchmark, whichever
//! of them ran.

pub mod long_key;
pub mod measure;

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The allocator of the command line, so that what is measured is what runs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A result beside what it is measured against.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Name, e.g. `executor/busy`.
    pub name: String,
    /// Our result.
    pub ours: f64,
    /// The result of what it is compared with.
    pub baseline: f64,
    /// How many times better we are.
    pub ratio: f64,
    /// Unit of both results.
    pub unit: String,
    /// What was measured, and against what.
    pub note: String,
}

/// Where the results go.
#[expect(clippy::disallowed_methods, reason = "only cargo's environment knows the target folder")]
pub fn results_path() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
        PathBuf::from,
    );
    target.join("bench.json")
}

/// Adds lines to the results; those of the same name are replaced.
///
/// # Errors
/// The file cannot be read, is not a list of lines, or cannot be written.
pub fn write_results(lines: &[Line]) -> io::Result<()> {
    let finite = |line: &Line| [line.ours, line.baseline, line.ratio].iter().all(|n| n.is_finite());
    assert!(lines.iter().all(finite), "a result is a number");
    let path = results_path();
    let mut all: Vec<Line> = match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    all.retain(|known| lines.iter().all(|line| line.name != known.name));
    all.extend_from_slice(lines);
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let mut text = serde_json::to_string_pretty(&all)?;
    text.push('\n');
    // A benchmark that is interrupted leaves the old file, not half of a new one.
    let draft = path.with_extension("json.new");
    fs::write(&draft, text)?;
    fs::rename(&draft, &path)
}
