//! The binary under test, and the CSV files that it reads and writes.
//!
//! The binary is built here, so that no test runs against one that is older than its source.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use backdate_engine::domain::money::Amount;

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Exit code; -1 if a signal ended it.
    pub(crate) code: i32,
    /// The result.
    pub(crate) stdout: String,
    /// Progress and messages; last, the signal that ended it if one did.
    pub(crate) stderr: String,
}

/// Runs the binary.
pub(crate) fn run(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ran {
    run_with(&[], arguments)
}

/// Runs the binary with more variables in its environment.
pub(crate) fn run_with(
    variables: &[(&str, &str)],
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Ran {
    let output = Command::new(binary())
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", binary().display()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut stderr = text(&output.stderr);
    if let Some(signal) = output.status.signal() {
        stderr.push_str(&format!("ended by signal {signal}\n"));
    }
    Ran { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr }
}

/// Feeds a folder; panics with what the binary says unless it passes.
pub(crate) fn feed(folder: &Path, out: &Path, more: &[&str]) {
    let mut arguments: Vec<&OsStr> = vec!["feed".as_ref(), folder.as_ref()];
    arguments.extend([OsStr::new("--out"), out.as_ref(), OsStr::new("--quiet")]);
    arguments.extend(more.iter().map(OsStr::new));
    let ran = run(&arguments);
    assert_eq!(ran.code, 0, "{arguments:?}\n{}\n{}", ran.stdout, ran.stderr);
}

/// The binary: `BACKDATE_BINARY` if it is set, else the one of this build's profile.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| variable("BACKDATE_BINARY").map_or_else(build, PathBuf::from))
}

/// A variable of the environment that steers the tests.
#[allow(clippy::disallowed_methods, reason = "steers how much is tested, never what comes out")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Variables that cargo sets for a test. Some packages are built anew when they change, and with
/// them all that depends on them.
const OF_TESTS: [&str; 3] = ["CARGO_CRATE_NAME", "CARGO_MANIFEST_", "CARGO_PKG_"];

/// Builds the binary beside this test: `<target>/<profile>/deps/<test>`.
#[allow(
    clippy::disallowed_methods,
    reason = "a build must not notice that a test has asked for it"
)]
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a file");
    let profile = test.parent().and_then(Path::parent).expect("a test lies in <profile>/deps");
    let target = profile.parent().expect("a profile lies in the target folder");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["build", "--quiet", "--workspace", "--bin", "backdate", "--target-dir"]);
    cargo.arg(target);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| OF_TESTS.iter().any(|of| name.starts_with(of))) {
            cargo.env_remove(&name);
        }
    }
    let status = cargo.status().expect("cargo has run this test, so it is there");
    assert!(status.success(), "the binary cannot be built");
    profile.join(format!("backdate{}", std::env::consts::EXE_SUFFIX))
}

/// A row of a CSV file, by column.
pub(crate) type CsvRow = BTreeMap<String, String>;

/// Reads a CSV file; a missing file is a table of a process that does not exist.
pub(crate) fn read_csv(path: &Path) -> Option<Vec<CsvRow>> {
    if !path.exists() {
        return None;
    }
    let mut reader = csv::Reader::from_path(path).expect("the file is there");
    Some(reader.deserialize().map(|row| row.expect("every row has all columns")).collect())
}

/// The CSV files of a folder without columns that differ between runs: epochs and revisions.
pub(crate) fn comparable_tables(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut tables = BTreeMap::new();
    for entry in entries {
        let path = entry.expect("the folder can be read").path();
        if path.extension().is_some_and(|extension| extension == "csv") {
            let name = path.file_name().expect("a file has a name").to_string_lossy();
            tables.insert(name.into_owned(), without_tokens(&path));
        }
    }
    assert!(tables.contains_key("position_state.csv"), "no tables in {}", folder.display());
    tables
}

/// A file with its bytes as they are, if it has no column to leave out.
fn without_tokens(path: &Path) -> String {
    let bytes = fs::read(path).expect("the file is there");
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let header = reader.headers().expect("a table has a header").clone();
    let is_kept = |column: usize| !["epoch", "revision"].contains(&&header[column]);
    if (0..header.len()).all(is_kept) {
        return String::from_utf8(bytes).expect("tables are UTF-8");
    }
    let mut lines = Vec::new();
    for row in std::iter::once(header.clone()).chain(reader.records().map(|r| r.expect("a row"))) {
        let cells: Vec<&str> =
            row.iter().enumerate().filter(|(n, _)| is_kept(*n)).map(|(_, cell)| cell).collect();
        lines.push(cells.join(","));
    }
    lines.join("\n")
}

/// Panics with the first lines that differ, if any do.
pub(crate) fn assert_same_tables(
    expected: &BTreeMap<String, String>,
    found: &BTreeMap<String, String>,
    what: &str,
) {
    let names: Vec<&String> = expected.keys().collect();
    assert_eq!(names, found.keys().collect::<Vec<_>>(), "{what}: other files");
    for (name, text) in expected {
        let other = &found[name];
        if text == other {
            continue;
        }
        let mut lines = text.lines().zip(other.lines()).filter(|(a, b)| a != b);
        let (first, second) = lines.next().unwrap_or(("", "(a file is longer)"));
        panic!("{what}: {name} differs\n  expected {first}\n  found    {second}");
    }
}

/// Whether two cells say the same: numbers as numbers, to 1e-8, else as texts.
pub(crate) fn same_value(expected: &str, found: &str) -> bool {
    let close = |(a, b): (Amount, Amount)| a.raw().abs_diff(b.raw()) <= 100;
    let numbers = Amount::parse(expected).ok().zip(Amount::parse(found).ok());
    expected == found || numbers.is_some_and(close)
}

#[test]
fn values_are_compared_as_numbers_if_both_are() {
    assert!(same_value("1005.50", "1005.5") && same_value("1", "1.000000001"));
    assert!(same_value("CURRENT", "CURRENT") && same_value("2025-09-03", "2025-09-03"));
    assert!(!same_value("1", "1.0000001") && !same_value("1", "") && !same_value("0", ""));
    assert!(!same_value("2025-09-03", "2025-09-04"));
}
