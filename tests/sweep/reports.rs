//! What a sweep tells, to people and to pipelines.

use super::*;

/// Every run breaks a rule: the watermark of a key falls.
const CANARY: &[(&str, &str)] = &[("BACKDATE_CANARY", "rule")];

#[test]
fn a_sweep_that_passes_says_what_was_done() {
    let place = Place::new();
    let scenario = place.scenario("sound", "");
    let ran = suite(&[&scenario, &"--seeds", &"2"]);
    assert_code(&ran, PASS);
    let first = ran.stdout.lines().next();
    assert_eq!(first, Some("PASS  1 scenarios, 2 runs: 2 passed, 0 failed"));
    assert!(ran.stdout.contains("never reached"), "{}", ran.stdout);
    assert_eq!(ran.stderr, "", "no terminal, no progress");
}

#[test]
fn failures_are_grouped_saved_and_can_be_repeated() {
    let place = Place::new();
    let scenario = place.scenario("sound", "");
    let (folder, report) = (place.path("results"), place.path("junit.xml"));
    let ran = suite_with(
        CANARY,
        &[&scenario, &"--seeds", &"2", &"--save", &folder, &"--junit", &report, &"--annotations"],
    );
    assert_code(&ran, RULE);
    let summary = json(&folder.join("suite.json"));
    let failures = summary["failures"].as_array().expect("a list");
    let group = failures.iter().find(|group| group["claim"] == "G4").expect("the broken rule");
    assert_eq!(group["runs"], 2, "{summary}");
    assert_eq!(group["seeds"][0]["seeds"], serde_json::json!([1, 2]));
    let repeat = format!("backdate run {} --seed 1", scenario.display());
    assert_eq!(group["repeat"], repeat.as_str());
    assert!(ran.stdout.contains(&repeat), "{}", ran.stdout);
    let saved = folder.join(group["saved"].as_str().expect("a folder"));
    assert_eq!(json(&saved.join("summary.json"))["wall_seconds"], Value::Null);
    let again = crate::support::run(words("trace", &[&saved, &"--key", &"P00001/SP500"]));
    assert_code(&again, PASS);
    assert!(ran.stderr.contains("FAIL  sound seed 1: G"), "{}", ran.stderr);
    let error = format!("::error file={},line=1,title=G4 broke::", scenario.display());
    assert!(ran.stdout.contains(&error), "{}", ran.stdout);
    let xml = fs::read_to_string(&report).expect("a report");
    assert!(xml.contains("<testsuite name=\"sound\" tests=\"11\" failures=\"2\""), "{xml}");
    assert!(xml.contains("name=\"G4\"><failure message=\""), "{xml}");
    assert!(xml.contains(" checks in 2 runs, 0 violations</system-out>"), "{xml}");
}

#[test]
fn known_failures_are_carried_and_new_ones_fail() {
    let place = Place::new();
    let scenario = place.scenario("unsound", MISSED);
    let known = place.path("known.toml");
    let entries = "[[known]]\nscenario = \"unsound\"\nrule = \"threshold counters.keys*\"\n\
                   reason = \"bug 17\"\n\n[[known]]\nscenario = \"*\"\nrule = \"G7\"\n\
                   evidence = \"lost\"\nreason = \"bug 18\"\n";
    fs::write(&known, entries).expect("a small file");
    assert_code(&suite(&[&scenario, &"--quiet"]), THRESHOLD);
    let ran = suite(&[&scenario, &"--known", &known, &"--quiet"]);
    assert_code(&ran, PASS);
    assert!(ran.stdout.contains("0 passed, 0 failed, 1 failed as known"), "{}", ran.stdout);
    assert!(ran.stdout.contains("bug 17"), "{}", ran.stdout);
    assert!(ran.stdout.contains("G7 of * did not occur: bug 18"), "{}", ran.stdout);
    let ran = suite_with(CANARY, &[&scenario, &"--known", &known, &"--json", &"-", &"--quiet"]);
    assert_code(&ran, RULE);
    let summary: Value = serde_json::from_str(&ran.stdout).expect("JSON alone");
    let failures = summary["failures"].as_array().expect("a list");
    let known = |group: &Value| (group["claim"].to_string(), group["known"].to_string());
    let last = failures.last().map(known).expect("what is known comes last");
    assert!(last.0.contains("counters.keys") && last.1.contains("bug 17"), "{summary}");
    assert!(failures.iter().any(|group| group["claim"] == "G4"), "{summary}");
}

#[test]
fn the_first_failure_stops_a_sweep_that_is_to_fail_fast() {
    let place = Place::new();
    let scenario = place.scenario("unsound", MISSED);
    let folder = place.path("results");
    let ran =
        suite(&[&scenario, &"--seeds", &"50", &"--fail-fast", &"--jobs", &"1", &"--save", &folder]);
    assert_code(&ran, THRESHOLD);
    assert!(ran.stdout.contains("at the first failure"), "{}", ran.stdout);
    assert_eq!(results(&folder), 1);
}

#[test]
fn a_negative_scenario_passes_if_exactly_its_rule_breaks() {
    let place = Place::new();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/negative");
    let text = fs::read_to_string(shipped.join("g04_fallen_watermark.toml")).expect("it is there");
    let negative = |name: &str, rule: &str| {
        let path = place.path(name);
        fs::write(&path, text.replace("\"G4\"", rule)).expect("a small file");
        path
    };
    assert_code(&suite(&[&negative("right.toml", "\"G4\""), &"--quiet"]), PASS);
    let ran = suite(&[&negative("other.toml", "\"G5\""), &"--quiet"]);
    assert_code(&ran, RULE);
    assert!(ran.stdout.contains("  G4              broke in 1 runs"), "{}", ran.stdout);
    assert_code(&suite(&[&negative("typo.toml", "\"G11\"")]), USAGE);
    let holds = place.scenario("holds", "breaks = \"G4\"\n");
    let ran = suite(&[&holds, &"--quiet"]);
    assert_code(&ran, THRESHOLD);
    assert!(ran.stdout.contains("expectation G4 breaks"), "{}", ran.stdout);
}

#[test]
fn a_folder_can_claim_that_a_sweep_of_it_reaches_every_state() {
    let place = Place::new();
    let folder = place.path("all");
    fs::create_dir(&folder).expect("a folder");
    let scenario = place.scenario("all/sound", "");
    assert_code(&suite(&[&folder, &"--quiet"]), PASS);
    let claim = folder.join("suite.json");
    fs::write(&claim, "{ \"must_reach_all_states\": true }").expect("a small file");
    let (save, report) = (place.path("results"), place.path("junit.xml"));
    let ran = suite(&[&folder, &"--save", &save, &"--junit", &report, &"--annotations"]);
    assert_code(&ran, THRESHOLD);
    assert!(ran.stdout.contains("zombie_fenced MISSED"), "{}", ran.stdout);
    assert!(ran.stdout.contains("::error title=never reached::zombie_fenced"), "{}", ran.stdout);
    let xml = fs::read_to_string(&report).expect("a report");
    assert!(xml.contains("<testsuite name=\"states reached\""), "{xml}");
    // A single file of it, or a part of the sweep, claims nothing.
    assert_code(&suite(&[&scenario, &"--quiet"]), PASS);
    assert_code(&suite(&[&folder, &"--shard", &"1/1", &"--quiet"]), PASS);
    fs::write(&claim, "{ \"must_reach\": true }").expect("a small file");
    assert_code(&suite(&[&folder, &"--quiet"]), USAGE);
}
