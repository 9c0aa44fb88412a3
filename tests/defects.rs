//! Planted defects: a handful is found at once, a hunt goes from end to end, and a name that does
//! not exist is told.
//!
//! The workspace is tested with the feature `defects`; that a release has no trace of them is a
//! step of the test script.

use std::fs;

use serde_json::Value;

use crate::support;

/// Defects that any sound harness finds within a few runs, and the rules that may find them.
const QUICK: &[(&str, &[&str])] = &[
    ("append-keeps-counter", &["G3"]),
    ("fanout-ends-after-one-batch", &["G2"]),
    ("gap-counts-older-revisions", &["G4"]),
    ("reset-keeps-revision", &["G3", "G4"]),
    ("rewind-ignored", &["G5", "G8"]),
    ("stale-message-dead-lettered", &["G3"]),
    ("valuation-writes-jobs-token", &["G3", "G4"]),
];

fn hunt(arguments: &[&str]) -> (i32, Value) {
    let arguments = ["hunt", "--quiet", "--json", "-"].iter().chain(arguments);
    let ran = support::run(arguments);
    let json = serde_json::from_str(&ran.stdout);
    (ran.code, json.unwrap_or_else(|error| panic!("{error}\n{}\n{}", ran.stdout, ran.stderr)))
}

#[test]
fn quick_defects_are_found_within_a_few_runs() {
    let names: Vec<&str> = QUICK.iter().map(|(name, _)| *name).collect();
    let (code, json) = hunt(&[&names[..], &["--max-runs", "30"]].concat());
    let found = json["defects"].as_array().expect("a list");
    assert_eq!(code, 0, "{json:#}");
    assert_eq!(found.len(), QUICK.len());
    for (name, rules) in QUICK {
        let finding = found.iter().find(|finding| finding["name"] == *name);
        let finding = finding.unwrap_or_else(|| panic!("{name} is missing"));
        let rule = finding["rule"].as_str().expect("a rule");
        assert!(rules.contains(&rule), "{name} was found by {rule}");
        assert!(finding["runs"].as_u64() <= Some(30) && finding["seconds"].as_f64() > Some(0.0));
    }
}

#[test]
fn what_a_hunt_has_found_is_saved_and_repeats() {
    let folder = tempfile::tempdir().expect("a folder");
    let save = folder.path().join("hunt");
    let save = save.to_str().expect("a path");
    let (code, json) = hunt(&["append-keeps-counter", "--save", save]);
    assert_eq!(code, 0, "{json:#}");
    let finding = &json["defects"][0];
    let recording = format!("{save}/append-keeps-counter/recording");
    assert!(fs::metadata(&recording).is_ok(), "{recording} is missing");
    let scenario = format!("scenarios/{}.toml", finding["scenario"].as_str().expect("a name"));
    let scenario = format!("{}/../{scenario}", env!("CARGO_MANIFEST_DIR"));
    let seed = finding["seed"].to_string();
    let run = ["run", &scenario, "--seed", &seed, "--quiet"];
    let with = support::run(run.iter().chain(&["--defect", "append-keeps-counter"]));
    assert_eq!(with.code, 1, "{}", with.stdout);
    assert!(with.stdout.contains("defect planted    append-keeps-counter"), "{}", with.stdout);
    assert!(with.stdout.contains("--defect append-keeps-counter"), "{}", with.stdout);
    assert_eq!(support::run(run).code, 0);
}

#[test]
fn a_defect_that_is_not_there_is_a_usage_error_with_a_hint() {
    for arguments in [&["hunt", "append-keeps-conter"][..], &["hunt"]] {
        let ran = support::run(arguments);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
    }
    let ran = support::run(["run", "x.toml", "--defect", "append-keeps-conter"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("append-keeps-counter"), "{}", ran.stderr);
}

#[test]
fn all_defects_are_listed_with_what_they_are() {
    let ran = support::run(["list", "--json"]);
    let json: Value = serde_json::from_str(&ran.stdout).expect("a listing");
    let defects = json["defects"].as_array().expect("a list");
    assert!(defects.len() > 50, "{} defects", defects.len());
    assert!(defects.iter().all(|defect| defect["about"].as_str().is_some_and(|a| !a.is_empty())));
}
