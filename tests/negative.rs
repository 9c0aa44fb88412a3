//! Each negative scenario breaks the rule that it names, and no other.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support;

/// Rules of the contract.
const RULES: [&str; 10] = ["G1", "G2", "G3", "G4", "G5", "G6", "G7", "G8", "G9", "G10"];

fn scenarios() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/negative");
    let entries = fs::read_dir(&folder).expect("the folder of negative scenarios");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn rule_named_in(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a scenario can be read");
    let table: toml::Table = text.parse().expect("a scenario is TOML");
    table["breaks"].as_str().expect("a negative scenario names a rule").to_owned()
}

#[test]
fn each_rule_is_broken_by_a_negative_scenario_and_no_other_rule_with_it() {
    let mut named = Vec::new();
    let mut wrong = Vec::new();
    for path in scenarios() {
        let rule = rule_named_in(&path);
        for seed in ["1", "2", "3"] {
            let scenario = path.to_str().expect("a path of the repository is UTF-8");
            let ran = support::run(["run", scenario, "--seed", seed, "--quiet", "--json", "-"]);
            let summary: Value = serde_json::from_str(&ran.stdout).expect("a summary");
            let rules = summary["rules"].as_array().expect("a list of rules");
            let broken = rules.iter().filter(|entry| entry["violations"].as_u64() != Some(0));
            let broken: Vec<&str> = broken.filter_map(|entry| entry["id"].as_str()).collect();
            if ran.code != 1 || broken != [rule.as_str()] {
                wrong.push(format!("{scenario} seed {seed}: exit {}, broke {broken:?}", ran.code));
            }
        }
        named.push(rule);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for rule in RULES {
        assert!(named.iter().any(|other| other == rule), "no negative scenario breaks {rule}");
    }
}
