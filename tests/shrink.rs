//! Shrinking: what comes out is small, breaks the same rule, and passes once the cause is gone.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::tempdir;

use crate::support::{Ran, run_with};

/// The end of a run is recorded as if a rule had been broken.
const CANARY: &[(&str, &str)] = &[("BACKDATE_CANARY", "rule")];

fn steady() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/smoke/steady.toml")
}

fn shrink(variables: &[(&str, &str)], source: &Path, output: &Path, more: &[&str]) -> Ran {
    let path = |path: &Path| path.to_str().expect("paths here are UTF-8").to_owned();
    let mut arguments = vec!["shrink".to_owned(), path(source), "-o".to_owned(), path(output)];
    arguments.extend(["--quiet", "--json", "-"].map(str::to_owned));
    arguments.extend(more.iter().map(|word| (*word).to_owned()));
    run_with(variables, &arguments)
}

#[test]
fn a_failure_becomes_a_plan_that_breaks_the_same_rule_until_its_cause_is_gone() {
    let folder = tempdir().expect("there is room for a folder");
    let small = folder.path().join("small.toml");
    let set = ["--seed", "1", "--set", "workload.portfolios.count=20"];
    let ran = shrink(CANARY, &steady(), &small, &set);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).expect("a report is JSON");
    let size = |when: &str, what: &str| report[when][what].as_u64().expect("a size is a number");
    assert!(size("before", "inputs") > 100, "{report}");
    assert!(size("after", "inputs") + size("after", "faults") <= 10, "{report}");
    assert_eq!(report["is_minimal"], true, "{report}");

    let text = fs::read_to_string(&small).expect("it writes a plan");
    assert!(text.starts_with(&format!("# Broke {}", report["rule"].as_str().unwrap_or("?"))));
    let again =
        |variables: &[(&str, &str)]| run_with(variables, ["run".as_ref(), small.as_os_str()]);
    let broken = again(CANARY);
    assert_eq!(broken.code, 1, "{}\n{}", broken.stdout, broken.stderr);
    assert!(broken.stdout.contains(report["rule"].as_str().unwrap_or("?")), "{}", broken.stdout);
    let mended = again(&[]);
    // Nothing breaks, and the rule still has something to judge: else it would say so.
    assert_eq!(mended.code, 0, "{}\n{}", mended.stdout, mended.stderr);
}

#[test]
fn the_same_failure_shrinks_to_the_same_plan() {
    let folder = tempdir().expect("there is room for a folder");
    let texts: Vec<String> = ["one.toml", "two.toml"]
        .map(|name| {
            let file = folder.path().join(name);
            let few = ["--seed", "2", "--max-runs", "25"];
            let ran = shrink(CANARY, &steady(), &file, &few);
            assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
            fs::read_to_string(&file).expect("it writes a plan")
        })
        .into();
    assert_eq!(texts[0], texts[1]);
}

#[test]
fn what_does_not_fail_is_refused_with_its_reason() {
    let folder = tempdir().expect("there is room for a folder");
    let file = folder.path().join("none.toml");
    let passes = shrink(&[], &steady(), &file, &["--seed", "1"]);
    assert_eq!(passes.code, 2, "{}", passes.stdout);
    assert!(passes.stderr.contains("no rule breaks"), "{}", passes.stderr);
    let unseeded = shrink(CANARY, &steady(), &file, &[]);
    assert_eq!(unseeded.code, 2, "{}", unseeded.stdout);
    assert!(unseeded.stderr.contains("--seed"), "{}", unseeded.stderr);
    assert!(!file.exists());
}
