//! Sweeps: `suite` and `merge` as scripts and batch systems see them.
//!
//! Scenarios of a second stand in for those that are shipped. What a sweep writes is compared byte
//! for byte with what an undisturbed one writes, whatever was done to it.

pub(crate) mod disturbed;
mod inputs;
mod jobs;
mod reports;
mod shards;
mod slurm;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Ran, binary, run_with};

/// Exit codes.
const PASS: i32 = 0;
const RULE: i32 = 1;
const USAGE: i32 = 2;
const THRESHOLD: i32 = 5;
const ENVIRONMENT: i32 = 6;
const INTERRUPTED: i32 = 130;

/// A threshold that no run meets.
const MISSED: &str = "thresholds = [\"counters.keys < 0\"]\n";

/// A folder of one test.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("there is room for a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a scenario that takes a moment; `header` is put before its sections.
    fn scenario(&self, name: &str, header: &str) -> PathBuf {
        let text = format!(
            r#"# Stands in for a scenario that takes longer.
name = "{name}"
about = "A moment of load."
{header}
[workload.data]
from = "2012-12-03"
business_days = 6

[workload.portfolios]
count = 3
base_currencies = {{ EUR = 1, USD = 1 }}

[workload.holdings]
securities = ["SP500", "IBM"]
transactions_per_key = 3

[workload.live]
rate_per_second = 6
backdated_share = 0.5
backdated_days_max = 4

[[workload.price_corrections]]
security = "SP500"
business_days_back = 4
at = "500ms"
factor = "1.02"

[phases]
storm = "2s"
"#
        );
        let path = self.path(&format!("{name}.toml"));
        fs::write(&path, text).expect("a small file");
        path
    }
}

/// `suite` with these arguments.
fn suite(arguments: &[&dyn AsArgument]) -> Ran {
    suite_with(&[], arguments)
}

fn suite_with(variables: &[(&str, &str)], arguments: &[&dyn AsArgument]) -> Ran {
    run_with(variables, words("suite", arguments))
}

fn words(command: &str, arguments: &[&dyn AsArgument]) -> Vec<OsString> {
    let command = OsString::from(command);
    std::iter::once(command).chain(arguments.iter().map(|argument| argument.word())).collect()
}

/// A word of a command line: a text or a path.
trait AsArgument {
    fn word(&self) -> OsString;
}

impl AsArgument for &str {
    fn word(&self) -> OsString {
        self.into()
    }
}

impl AsArgument for PathBuf {
    fn word(&self) -> OsString {
        self.into()
    }
}

/// Starts `suite` and lets it run.
fn start(arguments: &[&dyn AsArgument]) -> Child {
    let mut command = Command::new(binary());
    command.args(words("suite", arguments));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary has been built")
}

/// Waits for a started command.
fn finish(child: Child) -> Ran {
    let output = child.wait_with_output().expect("a child can be waited for");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

fn assert_code(ran: &Ran, code: i32) {
    assert_eq!(ran.code, code, "stdout:\n{}\nstderr:\n{}", ran.stdout, ran.stderr);
}

/// Every file of a folder and below, by path.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap_or_else(|e| panic!("{}: {e}", next.display())) {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let within = path.strip_prefix(folder).expect("it lies there").to_path_buf();
                found.insert(within, fs::read(&path).expect("the file is there"));
            }
        }
    }
    found
}

/// Panics with the first file that differs.
fn assert_same_files(expected: &Path, found: &Path) {
    let (expected, found) = (files(expected), files(found));
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&expected), names(&found));
    for (name, bytes) in &expected {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            *bytes == found[name],
            "{} differs:\n{}\n{}",
            name.display(),
            text(bytes),
            text(&found[name])
        );
    }
}

fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Results in a folder so far.
fn results(folder: &Path) -> usize {
    let text = fs::read_to_string(folder.join("results.jsonl")).unwrap_or_default();
    text.matches('\n').count()
}
