//! What a sweep takes, and what it refuses before anything runs.

use super::*;

/// A seed and the place of what was run, by result.
fn runs(folder: &Path) -> Vec<(String, u64)> {
    let text = fs::read_to_string(folder.join("results.jsonl")).expect("results");
    let line = |line: &str| {
        let result: Value = serde_json::from_str(line).expect("a line is JSON");
        let name = result["scenario"].as_str().expect("a name").to_owned();
        (name, result["seed"].as_u64().expect("a seed"))
    };
    text.lines().map(line).collect()
}

#[test]
fn a_typo_is_told_before_anything_runs() {
    let place = Place::new();
    let sound = place.scenario("sound", "");
    let typo = place.scenario("typo", "seeds_mox = 3\n");
    let folder = place.path("results");
    let ran = suite(&[&sound, &typo, &"--save", &folder]);
    assert_code(&ran, USAGE);
    assert!(ran.stderr.contains("typo.toml:4: seeds_mox: unknown key"), "{}", ran.stderr);
    assert!(ran.stderr.contains("did you mean seeds_max?"), "{}", ran.stderr);
    assert!(!folder.exists(), "nothing was begun");
    let known = place.path("known.toml");
    let entry = "[[known]]\nscenario = \"*\"\nrule = \"G3\"\nreson = \"17\"\n";
    fs::write(&known, entry).expect("a small file");
    let ran = suite(&[&sound, &"--known", &known]);
    assert_code(&ran, USAGE);
    assert!(ran.stderr.contains("known.toml:4: known[0].reson"), "{}", ran.stderr);
    let empty = place.path("empty");
    fs::create_dir(&empty).expect("a folder");
    for (arguments, why) in [
        (vec![&sound as &dyn AsArgument, &"--shard", &"5/4"], "write it like 3/16"),
        (vec![&sound, &"--seeds", &"3", &"--minutes", &"1"], "cannot be used with"),
        (vec![&sound, &"--seeds", &"0"], "is not in 1.."),
        (vec![&empty], "holds no scenario"),
        (vec![&"no_such_folder"], "cannot be read"),
    ] {
        let ran = suite(&arguments);
        assert_code(&ran, USAGE);
        assert!(ran.stderr.contains(why), "{why}: {}", ran.stderr);
    }
}

#[test]
fn results_of_another_sweep_are_left_alone() {
    let place = Place::new();
    let scenario = place.scenario("sound", "");
    let folder = place.path("results");
    assert_code(&suite(&[&scenario, &"--save", &folder]), PASS);
    let before = files(&folder);
    let other = suite(&[&scenario, &"--seeds", &"2", &"--save", &folder]);
    assert_code(&other, USAGE);
    let why = "holds another sweep (seeds: 1 from 1 on there, 2 from 1 on now)";
    assert!(other.stderr.contains(why), "{}", other.stderr);
    place.scenario("sound", "thresholds = []\n");
    let other = suite(&[&scenario, &"--save", &folder]);
    assert_code(&other, USAGE);
    assert!(other.stderr.contains("has changed"), "{}", other.stderr);
    assert_eq!(before, files(&folder));
}

#[test]
fn a_scenario_limits_its_own_seeds_and_a_plan_has_one() {
    let place = Place::new();
    let slow = place.scenario("slow", "seeds_max = 1\n");
    let quick = place.scenario("quick", "");
    let saved = place.path("saved");
    let ran = crate::support::run(words("run", &[&quick, &"--seed", &"9", &"--save", &saved]));
    assert_code(&ran, PASS);
    let plan = saved.join("plan.toml");
    let folder = place.path("results");
    assert_code(&suite(&[&slow, &quick, &plan, &"--seeds", &"2", &"--save", &folder]), PASS);
    let runs = runs(&folder);
    let seeds: Vec<(&str, u64)> = runs.iter().map(|(name, seed)| (name.as_str(), *seed)).collect();
    assert_eq!(seeds, [("slow", 1), ("quick", 1), ("quick", 2), ("quick", 9)]);

    let fingerprint = |arguments: &[&dyn AsArgument]| {
        let ran = crate::support::run(words("run", arguments));
        assert_code(&ran, PASS);
        let summary: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        summary["fingerprint"].as_str().expect("a text").to_owned()
    };
    let expected = fingerprint(&[&quick, &"--seed", &"9", &"--json", &"-"]);
    assert_eq!(fingerprint(&[&plan, &"--json", &"-"]), expected);
    assert_eq!(fingerprint(&[&plan, &"--seed", &"9", &"--json", &"-"]), expected);
    let other = crate::support::run(words("run", &[&plan, &"--seed", &"8"]));
    assert_code(&other, USAGE);
    assert!(other.stderr.contains("is a plan of seed 9"), "{}", other.stderr);
    let changed = crate::support::run(words("run", &[&plan, &"--set", &"phases.storm=1s"]));
    assert_code(&changed, USAGE);
    assert_code(&crate::support::run(words("meta", &[&plan, &"--quiet"])), PASS);
}

#[test]
fn a_sweep_goes_on_until_its_time_is_up() {
    let place = Place::new();
    let scenario = place.scenario("sound", "");
    let folder = place.path("results");
    let ran = suite(&[&scenario, &"--minutes", &"0.05", &"--seed", &"7", &"--save", &folder]);
    assert_code(&ran, PASS);
    let runs = runs(&folder);
    let seeds: Vec<u64> = runs.iter().map(|(_, seed)| *seed).collect();
    let expected: Vec<u64> = (7..).take(seeds.len()).collect();
    assert!(!seeds.is_empty());
    assert_eq!(seeds, expected);
}
