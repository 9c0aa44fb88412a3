//! Claims about what a scenario file may say and how it is complained about.

use std::path::Path;

use super::tasks::Tasks;
use super::*;
use crate::world::faults::Fault;

const GOOD: &str = r#"# Shows that a scenario can be read.
name = "good"
about = "A scenario for tests."
thresholds = ["catch_up_seconds <= 120"]

[cluster]
outbox-dispatcher = 2

[workload.data]
from = "2012-10-01"
business_days = 20

[workload.portfolios]
count = 3
base_currencies = { USD = 1, EUR = 1 }

[workload.holdings]
securities = ["SP500", "IBM"]

[workload.live]
rate_per_second = 5

[[workload.price_corrections]]
security = "SP500"
business_days_back = 5
at = "2s"
factor = "1.02"

[[faults]]
kind = "crash"
process = "outbox-dispatcher"
at = "drawn"

[phases]
storm = "5s"
"#;

fn read(text: &str, overrides: &[&str]) -> Result<Loaded, Problems> {
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    parse(Path::new("scenarios/x.toml"), text, &overrides)
}

/// The complaint about the good scenario with one text replaced.
fn complaint(old: &str, new: &str) -> String {
    assert!(GOOD.contains(old), "{old} is not in the good scenario");
    read(&GOOD.replacen(old, new, 1), &[]).expect_err(new).to_string()
}

/// A text of the good scenario, what stands in its place, and the complaint about it.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "rate_per_second = 5",
        "rate_per_second = -5",
        "scenarios/x.toml:21: workload.live.rate_per_second = -5: must be at least 0",
    ),
    (
        "rate_per_second = 5",
        "rate_per_secnd = 5",
        "scenarios/x.toml:21: workload.live.rate_per_secnd: unknown key: \
         did you mean rate_per_second?",
    ),
    (
        "\"IBM\"",
        "\"IBN\"",
        "scenarios/x.toml:18: workload.holdings.securities[1] = \"IBN\": no such security \
         in the price file: did you mean IBM?",
    ),
    (
        "[workload.data]",
        "[workload.data]\nprices = \"data/none.csv\"",
        "scenarios/x.toml:10: workload.data.prices = \"data/none.csv\": no such file: paths \
         are relative to the scenario file or to the root of the project",
    ),
    (
        "storm = \"5s\"",
        "storm = \"5 minutes\"",
        "scenarios/x.toml:35: phases.storm: \"5 minutes\" is no duration: write it like \
         250ms, 2s, 1.5s, 5m or 1h",
    ),
    (
        "at = \"drawn\"",
        "at = \"1s\"\npoint = \"replayer/UpsertReplay/before\"",
        "scenarios/x.toml:33: faults[0].point: no crash point \
         \"replayer/UpsertReplay/before\": did you mean replayer/UpsertReplays/before?",
    ),
    (
        "process = \"outbox-dispatcher\"",
        "process = \"outbox-dispatcher-3\"",
        "scenarios/x.toml:31: faults[0].process = \"outbox-dispatcher-3\": no such process \
         in this cluster: did you mean outbox-dispatcher-1?",
    ),
    (
        "catch_up_seconds <= 120",
        "catchup_seconds <= 120",
        "scenarios/x.toml:4: thresholds[0] = \"catchup_seconds <= 120\": unknown metric \
         catchup_seconds: did you mean catch_up_seconds?",
    ),
    (
        "[phases]\nstorm = \"5s\"",
        "",
        "scenarios/x.toml:1: phases: is missing: \
         the scenario needs it",
    ),
    (
        "kind = \"crash\"",
        "kind = \"crush\"",
        "scenarios/x.toml:30: faults[0].kind = \"crush\": unknown: did you mean crash?",
    ),
    (
        "EUR = 1",
        "EUX = 1",
        "scenarios/x.toml:15: workload.portfolios.base_currencies.EUX: unknown name: \
         did you mean EUR?",
    ),
    (
        "business_days_back = 5",
        "business_days_back = 50",
        "scenarios/x.toml:25: workload.price_corrections[0].business_days_back = 50: must \
         be at most 19, the window's first date",
    ),
    (
        "count = 3",
        "count = \"3\"",
        "scenarios/x.toml:14: workload.portfolios.count: invalid \
         type: string \"3\", expected u32",
    ),
];

#[test]
fn every_mistake_is_one_line_that_names_the_place_and_the_cure() {
    for &(old, new, expected) in MISTAKES {
        assert_eq!(complaint(old, new), expected, "{new}");
    }
    let broken = complaint("count = 3", "count = ");
    assert!(broken.starts_with("scenarios/x.toml:14: is no TOML: "), "{broken}");
    assert_eq!(broken.lines().count(), 1);
}

#[test]
fn faults_of_consumers_name_a_group_and_those_of_fetches_a_broker() {
    let with = |fault: &str| read(GOOD, &[&format!("faults=[{{at=\"1s\",{fault}}}]")]);
    let planned = |fault: &str| Plan::expand(&with(fault).expect(fault), 7).faults[0].fault.kind();
    for (fault, kind) in [
        ("kind=\"coordinator_move\",group=\"persistence\"", "coordinator_move"),
        ("kind=\"rebalance_storm\",group=\"any\",times=4,between=\"100ms\"", "rebalance_storm"),
        ("kind=\"slow_fetch\",process=\"kafka\",extra=\"300ms\",lasts=\"2s\"", "slow_fetch"),
        ("kind=\"duplicate_delivery\",group=\"any\",records=3", "duplicate_delivery"),
    ] {
        assert_eq!(planned(fault), kind);
    }
    for (fault, complaint) in [
        ("kind=\"coordinator_move\"", "group: is missing: whose records?"),
        ("kind=\"coordinator_move\",group=\"persistance\"", "did you mean persistence?"),
        ("kind=\"rebalance_storm\",group=\"any\",process=\"any\"", "name a `group`"),
        ("kind=\"slow_fetch\",process=\"postgres\",extra=\"1s\",lasts=\"1s\"", "no such broker"),
        ("kind=\"slow_fetch\",process=\"kafka-1\",lasts=\"1s\"", "extra: is missing"),
        ("kind=\"duplicate_delivery\",group=\"any\",records=0", "must be at least 1"),
        ("kind=\"leader_change\",process=\"kafka-1\"", "set cluster.replication_factor"),
        ("kind=\"crash\",process=\"any\",group=\"any\"", "group: does nothing for this kind"),
        ("kind=\"crash\",process=\"any\",lasts=\"1s\"", "lasts: does nothing for this kind"),
    ] {
        let told = with(fault).expect_err(fault).to_string();
        assert!(told.contains(complaint), "{fault}: {told}");
    }
}

#[test]
fn replicas_are_bounded_by_brokers_and_stand_in_the_plan_only_where_they_are() {
    let replicated = ["cluster.brokers=3", "cluster.replication_factor=3", "cluster.min_insync=2"];
    let plan = Plan::expand(&read(GOOD, &replicated).expect("fits"), 7);
    assert_eq!((plan.cluster.replication_factor, plan.cluster.min_insync), (3, 2));
    let again = Plan::from_toml(Path::new("plan.toml"), &plan.to_toml()).expect("its own file");
    assert_eq!(plan, again);
    let plain = Plan::expand(&read(GOOD, &[]).expect("fits"), 7).to_toml();
    for name in ["replication_factor", "min_insync", "retention_ms"] {
        assert!(!plain.contains(name), "{name}");
    }
    for (change, complaint) in [
        ("cluster.replication_factor=2", "must be at most 1"),
        ("cluster.replication_factor=0", "must be at least 1"),
        ("cluster.min_insync=2", "must be at most 1"),
        ("cluster.retention=0s", "must be at least 1s"),
    ] {
        let told = read(GOOD, &[change]).expect_err(change).to_string();
        assert!(told.contains(complaint), "{change}: {told}");
    }
}

#[test]
fn several_mistakes_are_all_told() {
    let text = GOOD.replace("count = 3", "count = 0").replace("\"1.02\"", "\"-1\"");
    assert_eq!(read(&text, &[]).expect_err("two mistakes").0.len(), 2);
}

#[test]
fn overrides_are_held_to_the_rules_of_the_file() {
    let loaded = read(GOOD, &["workload.portfolios.count=7", "phases.storm=8s"]).expect("fits");
    assert_eq!(loaded.scenario.workload.portfolios.count, 7);
    assert_eq!(loaded.scenario.phases.storm.0, 8_000);
    let loaded = read(GOOD, &["cluster.knobs.replay_chunk=1", "faults[0].at=1s"]).expect("fits");
    assert_eq!(loaded.scenario.cluster.knobs.replay_chunk, 1);
    for (change, expected) in [
        (
            "workload.live.rate_per_second=-1",
            "--set workload.live.rate_per_second=-1: workload.live.rate_per_second = -1: must be \
             at least 0",
        ),
        (
            "workload.live.rate=1",
            "--set workload.live.rate=1: workload.live.rate: unknown key: expected one of \
             rate_per_second, mix, backdated_share, backdated_days_max, sells_before_buys_share, \
             hot_key_share",
        ),
        ("nonsense", "--set nonsense: has no `=`: write PATH=VALUE"),
        ("faults[7].at=1s", "--set faults[7].at=1s: faults[7].at: leads nowhere in this scenario"),
    ] {
        assert_eq!(read(GOOD, &[change]).expect_err(change).to_string(), expected);
    }
}

#[test]
fn a_seed_gives_one_plan_and_its_file_gives_it_back() {
    let loaded = read(GOOD, &[]).expect("good");
    let plan = Plan::expand(&loaded, 7);
    assert_eq!(plan, Plan::expand(&loaded, 7));
    assert_ne!(plan.inputs, Plan::expand(&loaded, 8).inputs);
    let again = Plan::from_toml(Path::new("plan.toml"), &plan.to_toml()).expect("its own file");
    assert_eq!(plan, again);
    assert!(plan.inputs.iter().enumerate().all(|(id, input)| input.id == id as u64));
}

#[test]
fn a_plan_starves_only_who_is_there() {
    let mut plan = Plan::expand(&read(GOOD, &[]).expect("good"), 7);
    for (process, is_there) in [
        ("persistence-1", true),
        ("postgres", true),
        ("kafka-1", true),
        ("persistence-9", false),
        ("persistence", false),
        ("kafka-0", false),
    ] {
        plan.tasks = Tasks::Starve(process.into());
        let read = Plan::from_toml(Path::new("plan.toml"), &plan.to_toml());
        match read {
            Ok(again) => assert!(is_there && again == plan, "{process}"),
            Err(why) => assert!(!is_there && why.to_string().contains("tasks.starve"), "{why}"),
        }
    }
}

#[test]
fn a_large_plan_keeps_its_generator_and_gives_the_same_inputs() {
    let loaded = read(GOOD, &["workload.live.rate_per_second=5000"]).expect("fits");
    let plan = Plan::expand(&loaded, 7);
    assert!(plan.inputs.len() > plan::LISTED_INPUTS);
    let text = plan.to_toml();
    assert!(text.len() < 20_000, "{} bytes", text.len());
    let again = Plan::from_toml(Path::new("plan.toml"), &text).expect("its own file");
    assert_eq!(plan.inputs, again.inputs);
    let other = text.replace("rate_per_second = 5000", "rate_per_second = 5001");
    let refused = Plan::from_toml(Path::new("plan.toml"), &other).expect_err("another workload");
    assert!(refused.to_string().contains("generated.digest"), "{refused}");
}

#[test]
fn every_crash_point_is_planned_for_its_first_three_passes() {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/recovery/every_crash_point.toml");
    let plan = Plan::expand(&load(&file, &[]).expect("a shipped scenario"), 1);
    let mut planned: Vec<(String, u64)> = plan
        .faults
        .iter()
        .map(|planned| match &planned.fault {
            Fault::CrashAtPoint { kind, call, side, pass, .. } => {
                (format!("{kind}/{call}/{side:?}").to_lowercase(), *pass)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let points = points::all().flat_map(|point| (1..=3).map(move |pass| (point.name(), pass)));
    let mut all: Vec<(String, u64)> =
        points.map(|(name, pass)| (name.to_lowercase(), pass)).collect();
    planned.sort();
    all.sort();
    assert_eq!(planned, all);
}

#[test]
fn taking_one_part_out_leaves_the_others_as_they_are() {
    let contents = |text: &str| {
        let plan = Plan::expand(&read(text, &[]).expect("fits"), 7);
        let inputs = plan.inputs.into_iter();
        inputs.map(|input| (input.correlation_id, input.value)).collect::<Vec<_>>()
    };
    let whole = contents(GOOD);
    let start = GOOD.find("[workload.live]").expect("there");
    let end = GOOD.find("[[workload.price").expect("there");
    let without = contents(&format!("{}{}", &GOOD[..start], &GOOD[end..]));
    let mut rest = whole.clone();
    rest.retain(|(label, _)| !label.starts_with("live/"));
    assert_eq!(rest, without);
    assert!(rest.len() < whole.len());
}

/// Shipped scenarios as they were when their plans were saved. A change of the code that changes
/// one of these changes what every seed has ever stood for.
const SAVED: [&str; 2] = ["collisions", "deaths"];

#[test]
fn a_seed_gives_the_plan_that_it_has_always_given() {
    for name in SAVED {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/plans");
        let loaded = load(&folder.join(format!("{name}.toml")), &[]).expect("a scenario");
        let mut plan = Plan::expand(&loaded, 7);
        plan.scenario = format!("tests/plans/{name}.toml");
        let saved = folder.join(format!("{name}_seed_7.toml"));
        let text = std::fs::read_to_string(&saved).expect("a saved plan");
        let saved = Plan::from_toml(&saved, &text).expect("a plan");
        assert_eq!(plan.faults, saved.faults, "{name}");
        for (now, then) in plan.inputs.iter().zip(&saved.inputs) {
            assert_eq!(now, then, "{name}");
        }
        assert_eq!(plan, saved, "{name}");
    }
}

#[test]
fn one_more_fault_or_entry_leaves_all_others_as_they_are() {
    let parts = |text: &str| {
        let plan = Plan::expand(&read(text, &[]).expect("fits"), 7);
        let inputs = plan.inputs.into_iter();
        let inputs = inputs.map(|input| (input.at_ms, input.correlation_id, input.value));
        (inputs.collect::<Vec<_>>(), plan.faults)
    };
    let more = "[[faults]]\nkind = \"pause\"\nprocess = \"any\"\nat = \"drawn\"\nlasts = \"1s\"\n\
        [workload.poison]\ncount = 2\n[[workload.chains]]\nportfolio = 1\nsecurity = \"IBM\"\n\
        at = \"drawn\"\nlength = 2\nevery = \"1s\"\nbusiness_days_back = 3\n[phases]";
    let (inputs, faults) = parts(GOOD);
    let (more_inputs, more_faults) = parts(&GOOD.replace("[phases]", more));
    assert_eq!(more_faults.len(), faults.len() + 1);
    assert!(faults.iter().all(|fault| more_faults.contains(fault)));
    assert_eq!(more_inputs.len(), inputs.len() + 4);
    let old = |(_, label, _): &&(u64, smol_str::SmolStr, std::rc::Rc<str>)| {
        !label.starts_with("poison/") && !label.starts_with("chain/")
    };
    assert!(more_inputs.iter().filter(old).eq(inputs.iter()));
}
