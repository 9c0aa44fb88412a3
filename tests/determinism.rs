//! `meta`: runs that are repeatable are told so, and of two that part it is told where.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Ran, binary, run_with};
use crate::sweep::disturbed::{children, signal, wait_until};

fn scenario(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(name);
    path.to_str().expect("paths of the repository are UTF-8").to_owned()
}

fn meta(variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
    run_with(variables, [&["meta", "--quiet"], arguments].concat())
}

const CANARY: [(&str, &str); 1] = [("BACKDATE_CANARY", "nondeterminism")];

#[test]
fn scenarios_over_seeds_are_the_same_twice() {
    let (chaos, smoke) = (scenario("chaos/collisions.toml"), scenario("smoke/herd_small.toml"));
    let ran = meta(&[], &[&chaos, &smoke, "--seeds", "2", "--jobs", "4"]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 6, "{}", ran.stdout);
    assert!(lines[0].starts_with(&format!("{chaos} seed 1: same, ")), "{}", lines[0]);
    assert!(lines[4].starts_with(&format!("{chaos}: 2 runs twice, 0 differ, ")), "{}", lines[4]);
    assert!(lines[5].starts_with(&format!("{smoke}: 2 runs twice, 0 differ, ")), "{}", lines[5]);
}

#[test]
fn the_canary_shows_the_event_the_task_and_the_draw() {
    let chaos = scenario("chaos/collisions.toml");
    let ran = meta(&CANARY, &[&chaos, "--seed", "1"]);
    assert_eq!(ran.code, 4, "{}\n{}", ran.stdout, ran.stderr);
    let said = |begin: &str| {
        let found = ran.stdout.lines().filter(|line| line.trim_start().starts_with(begin));
        found.map(|line| line.trim_start()[begin.len()..].trim()).collect::<Vec<_>>()
    };
    let [event, other] = said("event")[..] else { panic!("{}", ran.stdout) };
    assert!(event.contains("canary fault canary") && event != other, "{}", ran.stdout);
    // Both took the same course until then; the canary itself is no task.
    let [task, same] = said("task")[..] else { panic!("{}", ran.stdout) };
    assert!(task.starts_with("after turn ") && task == same, "{}", ran.stdout);
    assert!(task.contains(" of ") && task.contains(", task "), "{}", ran.stdout);
    let [drawn, same] = said("drawn")[..] else { panic!("{}", ran.stdout) };
    assert!(drawn.contains(" from ") && drawn == same, "{}", ran.stdout);
    assert!(drawn.contains(", draw "), "{}", ran.stdout);
}

#[test]
fn a_difference_is_in_the_json_too() {
    let ran = meta(&CANARY, &[&scenario("chaos/collisions.toml"), "--seed", "1", "--json", "-"]);
    assert_eq!(ran.code, 4, "{}\n{}", ran.stdout, ran.stderr);
    let reports: Value = serde_json::from_str(&ran.stdout).expect("reports are JSON");
    let difference = &reports[0]["difference"];
    assert!(difference["line"].as_u64().is_some_and(|line| line > 1_000), "{difference}");
    for side in ["first", "second"] {
        for part in ["event", "task", "draw"] {
            assert!(difference[side][part].is_string(), "{difference}");
        }
    }
}

#[test]
fn a_plan_runs_under_its_own_seed_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let (chaos, place) =
        (scenario("chaos/collisions.toml"), folder.path().to_str().expect("UTF-8"));
    let ran = run_with(&[], ["run", &chaos, "--seed", "3", "--quiet", "--save", place]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    let plan = format!("{place}/plan.toml");
    let ran = meta(&[], &[&plan]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.starts_with(&format!("{plan} seed 3: same, ")), "{}", ran.stdout);
    let ran = meta(&[], &[&plan, "--seeds", "2"]);
    assert_eq!(ran.code, 2, "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("a plan has one seed"), "{}", ran.stderr);
}

#[test]
fn ctrl_c_leaves_what_was_compared_until_then() {
    let chaos = scenario("chaos/collisions.toml");
    let mut meta = Command::new(binary());
    meta.args(["meta", "--quiet", &chaos, "--seeds", "500", "--jobs", "2"]);
    let child = meta.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    // The pairs run one after the other, so that the third begins when two have been compared.
    let runs_the_third = |pid: u32| {
        let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let arguments: Vec<&str> = arguments.split('\0').collect();
        arguments.windows(2).any(|pair| pair == ["--seed", "3"])
    };
    wait_until("the third pair", || children(child.id()).into_iter().any(runs_the_third));
    signal("INT", child.id());
    let ended = child.wait_with_output().expect("it ends");
    let (told, said) =
        (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert_eq!(ended.status.code(), Some(130), "{told}\n{said}");
    assert!(told.contains(" seed 1: same, ") && told.contains(" seed 2: same, "), "{told}");
    assert!(said.contains(" of 500 runs were compared"), "{said}");
}
