//! Shards, put together, are the sweep that was never divided.

use super::*;

/// Two scenarios, one of which fails, under four seeds.
fn sweep(place: &Place) -> [PathBuf; 2] {
    [place.scenario("sound", ""), place.scenario("unsound", MISSED)]
}

fn merge(shards: &[PathBuf], save: &PathBuf) -> Ran {
    let mut arguments: Vec<&dyn AsArgument> = vec![];
    arguments.extend(shards.iter().map(|shard| shard as &dyn AsArgument));
    arguments.extend([&"--save" as &dyn AsArgument, save]);
    crate::support::run(words("merge", &arguments))
}

#[test]
fn four_shards_merged_are_the_unsharded_sweep_byte_for_byte() {
    let place = Place::new();
    let [sound, unsound] = sweep(&place);
    let whole = place.path("whole");
    let ran = suite(&[&sound, &unsound, &"--seeds", &"4", &"--save", &whole, &"--jobs", &"2"]);
    assert_code(&ran, THRESHOLD);
    let mut shards = Vec::new();
    for number in 1..=4 {
        let shard = place.path(&format!("shard-{number}"));
        let part = format!("{number}/4");
        let part = part.as_str();
        let ran = suite(&[
            &sound, &unsound, &"--seeds", &"4", &"--shard", &part, &"--save", &shard, &"--quiet",
        ]);
        assert_code(&ran, THRESHOLD);
        assert_eq!(results(&shard), 2);
        shards.push(shard);
    }
    shards.reverse();
    let merged = place.path("merged");
    assert_code(&merge(&shards, &merged), THRESHOLD);
    assert_same_files(&whole, &merged);
    assert!(merged.join("failures").is_dir(), "failing runs are saved");
    let saved: Vec<PathBuf> =
        files(&merged).into_keys().filter(|f| f.ends_with("recording")).collect();
    assert_eq!(saved.len(), 4, "{saved:?}");

    let refused = merge(&shards[1..], &place.path("again"));
    assert_code(&refused, USAGE);
    assert!(refused.stderr.contains("not all are named: 4/4"), "{}", refused.stderr);
    let twice = [shards.clone(), vec![shards[0].clone()]].concat();
    assert_code(&merge(&twice, &place.path("again")), USAGE);
}

#[test]
fn a_shard_that_is_not_complete_is_not_merged() {
    let place = Place::new();
    let scenario = place.scenario("sound", "");
    let shard = place.path("shard");
    let arguments: &[&dyn AsArgument] =
        &[&scenario, &"--seeds", &"2", &"--shard", &"1/1", &"--save", &shard];
    assert_code(&suite(arguments), PASS);
    let all = fs::read_to_string(shard.join("results.jsonl")).expect("results");
    let half: String = all.lines().take(1).map(|line| format!("{line}\n")).collect();
    fs::write(shard.join("results.jsonl"), half).expect("a small file");
    let refused = merge(std::slice::from_ref(&shard), &place.path("merged"));
    assert_code(&refused, USAGE);
    assert!(refused.stderr.contains("has 1 of 2 results"), "{}", refused.stderr);
    assert_code(&suite(arguments), PASS);
    assert_code(&merge(&[shard], &place.path("merged")), PASS);
}
