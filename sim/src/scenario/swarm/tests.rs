//! Claims about swarms: what a seed draws is a plan like any other, and mistakes are told.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::scenario::tasks::Tasks;
use crate::scenario::{Plan, Problems, parse};

const SWARM: &str = r#"name = "swarm"
about = "A swarm for tests."
[swarm]
without_faults = 0.2
[swarm.families]
deaths = 0.5
freezes = 0.5
[swarm.parts]
"workload.live" = 0.5
[swarm.choices]
tasks = ["seeded", "fifo", { starve = "any" }]
"cluster.knobs.replay_chunk" = [1, 2, 500]
"workload.portfolios.base_currencies" = [{ USD = 1 }, { EUR = 1, USD = 1 }]
[swarm.ranges]
"cluster.persistence" = [1, 4]
"workload.holdings.per_portfolio" = [1, 2]
[workload.data]
from = "2012-10-01"
business_days = 5
[workload.portfolios]
count = 3
[workload.holdings]
securities = ["SP500", "IBM"]
[workload.live]
rate_per_second = 5
[[faults]]
family = "deaths"
kind = "crash"
process = "any"
at = "drawn"
repeat = 3
[[faults]]
family = "freezes"
kind = "pause"
process = "any"
at = "drawn"
lasts = "1s"
[phases]
storm = "5s"
"#;

fn read_with(text: &str, overrides: &[&str]) -> Result<Loaded, Problems> {
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    parse(Path::new("x.toml"), text, &overrides)
}

fn plans(overrides: &[&str]) -> Vec<Plan> {
    let loaded = read_with(SWARM, overrides).expect("a good scenario");
    (0..60).map(|seed| Plan::expand(&loaded, seed)).collect()
}

#[test]
fn every_value_is_drawn_by_some_seed_and_the_plan_is_concrete() {
    let plans = plans(&[]);
    let drawn =
        |what: &dyn Fn(&Plan) -> String| -> BTreeSet<String> { plans.iter().map(what).collect() };
    let count = |what: &dyn Fn(&Plan) -> String| drawn(what).len();
    assert_eq!(count(&|plan| plan.cluster.knobs.replay_chunk.to_string()), 3);
    assert_eq!(count(&|plan| format!("{:?}", plan.cluster.instances)), 4);
    let kinds = |plan: &Plan| -> BTreeSet<&'static str> {
        plan.faults.iter().map(|planned| planned.fault.kind()).collect()
    };
    assert_eq!(count(&|plan| format!("{:?}", kinds(plan))), 4, "each family on and off");
    let lives = |plan: &Plan| plan.inputs.iter().any(|i| i.correlation_id.starts_with("live/"));
    assert_eq!(count(&|plan| lives(plan).to_string()), 2);
    let starved = plans.iter().filter_map(|plan| plan.tasks.starved());
    assert!(starved.clone().count() > 5);
    assert!(starved.clone().all(|name| name.ends_with(|end: char| end.is_ascii_digit())));
    assert!(plans.iter().any(|plan| plan.tasks == Tasks::Fifo));
    for plan in &plans {
        let text = plan.to_toml();
        assert!(!text.contains("any") && !text.contains("drawn"), "{text}");
        assert_eq!(Plan::from_toml(Path::new("plan.toml"), &text).expect("its own"), *plan);
    }
}

#[test]
fn a_family_that_is_off_leaves_the_others_as_they_are() {
    let pauses = |plans: Vec<Plan>| -> Vec<Vec<crate::scenario::PlannedFault>> {
        let of = |plan: Plan| {
            plan.faults.into_iter().filter(|planned| planned.fault.kind() == "pause").collect()
        };
        plans.into_iter().map(of).collect()
    };
    let with = pauses(plans(&["swarm.families.deaths=1"]));
    let without = pauses(plans(&["swarm.families.deaths=0"]));
    assert_eq!(with, without);
}

#[test]
fn what_is_set_is_not_drawn() {
    let set = ["cluster.persistence=7", "workload.live.rate_per_second=9", "tasks=fifo"];
    for plan in plans(&set) {
        assert_eq!(plan.cluster.instances[&backdate_engine::runtime::ProcessKind::Persistence], 7);
        assert_eq!(plan.tasks, Tasks::Fifo);
        let live = plan.inputs.iter().filter(|i| i.correlation_id.starts_with("live/"));
        assert_eq!(live.count(), 45);
    }
}

#[test]
fn what_does_not_fit_together_is_drawn_again() {
    let text = SWARM.replace(
        "\"workload.portfolios.base",
        "\"workload.holdings.securities\" = \
        [[\"SP500\"], [\"SP500\", \"IBM\", \"AAPL\"]]\n\"workload.portfolios.base",
    );
    let loaded = read_with(&text, &[]).expect("most of it fits");
    for seed in 0..60 {
        let plan = Plan::expand(&loaded, seed);
        assert!(!plan.inputs.is_empty());
    }
}

#[test]
fn leaders_change_where_the_drawn_cluster_has_somebody_else_to_lead() {
    let text = SWARM
        .replace(
            "[workload.data]",
            "[cluster]\nbrokers = 2\nreplication_factor = 2\n[workload.data]",
        )
        .replace("[swarm.ranges]", "\"cluster.replication_factor\" = [1, 2]\n[swarm.ranges]")
        .replace(
            "kind = \"pause\"\nprocess = \"any\"",
            "kind = \"leader_change\"\nprocess = \"kafka\"",
        )
        .replace("lasts = \"1s\"\n", "");
    let loaded = read_with(&text, &[]).expect("a change of leaders is left out without replicas");
    let plans: Vec<Plan> = (0..60).map(|seed| Plan::expand(&loaded, seed)).collect();
    let changes = |plan: &&Plan| plan.faults.iter().any(|f| f.fault.kind() == "leader_change");
    assert!(plans.iter().filter(changes).count() > 5);
    assert!(plans.iter().filter(changes).all(|plan| plan.cluster.replication_factor == 2));
    assert!(plans.iter().any(|plan| plan.cluster.replication_factor == 1));
    let alone = text.replace("family = \"freezes\"\n", "").replace("freezes = 0.5\n", "");
    let told = read_with(&alone, &[]).expect_err("nobody asked a swarm to leave it out");
    assert!(told.to_string().contains("set cluster.replication_factor"), "{told}");
}

/// A text of the swarm, what stands in its place, and the complaint about it.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "replay_chunk\" = [1, 2, 500]",
        "replay_chunk\" = [1, 0, 500]",
        "x.toml:12: swarm.choices.cluster.knobs.replay_chunk[1]: 0 does not fit: \
         cluster.knobs.replay_chunk = 0: must be at least 1",
    ),
    (
        "persistence\" = [1, 4]",
        "persistence\" = [4, 1]",
        "x.toml:15: swarm.ranges.cluster.persistence = [4, 1]: the least comes first",
    ),
    (
        "\"workload.live\" = 0.5",
        "\"workload.lives\" = 0.5",
        "x.toml:9: swarm.parts.workload.lives: leads nowhere in this scenario",
    ),
    (
        "\"workload.live\" = 0.5",
        "\"workload.holdings\" = 0.5",
        "x.toml:9: swarm.parts.workload.holdings: cannot be left out: workload missing field \
         `holdings`",
    ),
    (
        "freezes = 0.5",
        "freezes = 1.5",
        "x.toml:7: swarm.families.freezes = 1.5: must be between 0 and 1",
    ),
    (
        "family = \"freezes\"",
        "family = \"freezers\"",
        "x.toml:7: swarm.families.freezes: has no faults: give some that `family`, or take it \
         out\nx.toml:33: faults[1].family = \"freezers\": no such family in [swarm.families]: did \
         you mean freezes?",
    ),
    ("{ starve = \"any\" }", "{ starve = \"nobody\" }", "x.toml:11: swarm.choices.tasks[2]: "),
];

#[test]
fn every_mistake_names_the_place_and_the_cure() {
    for &(old, new, expected) in MISTAKES {
        assert!(SWARM.contains(old), "{old}");
        let told = read_with(&SWARM.replacen(old, new, 1), &[]).expect_err(new).to_string();
        assert!(told.starts_with(expected), "{told}\ninstead of\n{expected}");
    }
    let start = SWARM.find("[swarm]").expect("there");
    let end = SWARM.find("[workload.data]").expect("there");
    let told = read_with(&format!("{}{}", &SWARM[..start], &SWARM[end..]), &[]);
    let told = told.expect_err("families of nothing").to_string();
    assert!(told.contains("faults[0].family: does nothing without a table [swarm]"), "{told}");
}
