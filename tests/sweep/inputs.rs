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
fn a_sweep_does_not_go_on_under_another_defect() {
    let place = Place::new();
    let scenario = place.scenario("sound", "");
    let folder = place.path("results");
    let planted = |name: &'static str| suite(&[&scenario, &"--save", &folder, &"--defect", &name]);
    assert_code(&planted("lease-never-ends"), PASS);
    assert_eq!(json(&folder.join("sweep.json"))["defect"], "lease-never-ends");
    assert_eq!(json(&folder.join("suite.json"))["defect"], "lease-never-ends");
    assert_code(&planted("lease-never-ends"), PASS);
    let before = files(&folder);
    let other = planted("current-during-replay");
    assert_code(&other, USAGE);
    let why = "(planted defect: lease-never-ends there, current-during-replay now)";
    assert!(other.stderr.contains(why), "{}", other.stderr);
    let sound = suite(&[&scenario, &"--save", &folder]);
    assert_code(&sound, USAGE);
    assert!(sound.stderr.contains("lease-never-ends there, none now"), "{}", sound.stderr);
    assert_eq!(before, files(&folder));
}

#[test]
fn what_fails_under_a_defect_names_it_in_its_command_and_in_what_is_saved() {
    let place = Place::new();
    let scenario = place.scenario("unsound", MISSED);
    let (folder, junit) = (place.path("results"), place.path("junit.xml"));
    let arguments: [&dyn AsArgument; 7] =
        [&scenario, &"--save", &folder, &"--junit", &junit, &"--defect", &"lease-never-ends"];
    let ran = suite(&arguments);
    assert_code(&ran, THRESHOLD);
    let repeat = format!("backdate run {} --seed 1 --defect lease-never-ends", scenario.display());
    assert!(ran.stdout.contains(&repeat), "{}", ran.stdout);
    assert!(ran.stdout.contains("planted         lease-never-ends"), "{}", ran.stdout);
    let written = fs::read_to_string(&junit).expect("a report");
    assert!(written.contains(&repeat), "{written}");
    assert_eq!(json(&folder.join("suite.json"))["failures"][0]["repeat"], repeat);
    let within = json(&folder.join("suite.json"))["failures"][0]["saved"].clone();
    let saved = folder.join(within.as_str().expect("a folder")).join("summary.json");
    assert_eq!(json(&saved)["defect"], "lease-never-ends");
}

#[test]
fn a_sweep_does_not_go_on_with_other_market_data() {
    let place = Place::new();
    let scenario = place.scenario("sound", "");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/data/market_prices.csv");
    let (prices, folder) = (place.path("prices.csv"), place.path("results"));
    fs::copy(&shipped, &prices).expect("a copy");
    let text = fs::read_to_string(&scenario).expect("a scenario");
    let named = text.replace("business_days = 6\n", "business_days = 6\nprices = \"prices.csv\"\n");
    fs::write(&scenario, named).expect("a small file");
    assert_code(&suite(&[&scenario, &"--save", &folder]), PASS);
    assert_code(&suite(&[&scenario, &"--save", &folder]), PASS);
    let mut data = fs::read_to_string(&prices).expect("prices");
    data.push_str("SP500,2099-01-01,1,USD\n");
    fs::write(&prices, data).expect("a file");
    let ran = suite(&[&scenario, &"--save", &folder]);
    assert_code(&ran, USAGE);
    let why = format!("(the market data of {} has changed)", scenario.display());
    assert!(ran.stderr.contains(&why), "{}", ran.stderr);
}

#[test]
fn what_is_saved_without_being_asked_for_goes_when_the_sweep_passes() {
    let place = Place::new();
    let scenario = place.scenario("unsound", MISSED);
    let (known, temporary) = (place.path("known.toml"), place.path("temporary"));
    fs::create_dir(&temporary).expect("a folder");
    let entry = "[[known]]\nscenario = \"*\"\nrule = \"threshold *\"\nreason = \"17\"\n";
    fs::write(&known, entry).expect("a small file");
    let place = [("TMPDIR", temporary.to_str().expect("UTF-8"))];
    let left = || fs::read_dir(&temporary).expect("a folder").count();
    assert_code(&suite_with(&place, &[&scenario, &"--known", &known]), PASS);
    assert_eq!(left(), 0);
    let ran = suite_with(&place, &[&scenario]);
    assert_code(&ran, THRESHOLD);
    assert_eq!(left(), 1);
    let named = format!("{}/backdate-suite-", temporary.display());
    assert!(ran.stdout.contains(&named), "{}", ran.stdout);
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
