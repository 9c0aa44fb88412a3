//! What is taken out, in the order in which that pays: what is large and cheap to try comes first.

use std::collections::BTreeSet;

use backdate_engine::runtime::Knobs;
use backdate_reports::recording::Phase;
use serde_json::{Map, Value};

use super::names;
use super::reduce::{lower, minimise};
use super::trial::Trial;
use crate::kafka;
use crate::scenario::plan::{Plan, PlannedInput};
use crate::scenario::tasks::Tasks;

/// How much later than its rule broke a plan may still be needed: what happens at that instant is
/// seen at the next look.
const MARGIN_MS: u64 = 200;
/// Steps to which times are rounded, so that they can be read.
const ROUND_MS: [u64; 2] = [1_000, 100];
/// Pieces of a list that are large enough for another seed.
const LARGE: usize = 8;

/// Takes something out; whether the plan is smaller than before.
type Pass = fn(&mut Trial<'_>) -> bool;

/// Every pass once; whether the plan is smaller than before.
pub(super) fn all(trial: &mut Trial<'_>) -> bool {
    let passes: [(&'static str, Pass); 11] = [
        ("phases", phases),
        ("faults", faults),
        ("groups of inputs", groups),
        ("readers", readers),
        ("order of tasks", tasks),
        ("instances", instances),
        ("partitions", partitions),
        ("knobs", knobs),
        ("inputs", inputs),
        ("durations of faults", durations),
        ("times", times),
    ];
    let mut is_smaller = false;
    for (name, pass) in passes {
        trial.pass = name;
        is_smaller |= !trial.is_over() && pass(trial);
    }
    is_smaller
}

/// Leaves the storm out, or ends it with the last that happens in it, or when the rule has broken.
fn phases(trial: &mut Trial<'_>) -> bool {
    let (plan, broken) = (trial.plan(), trial.broken());
    let inputs = plan.inputs.iter().filter(|input| input.phase == Phase::Storm);
    let times = inputs.map(|input| input.at_ms).chain(plan.faults.iter().map(|fault| fault.at_ms));
    let mut ends = vec![0, times.max().unwrap_or(0) + MARGIN_MS];
    ends.extend(broken.storm_ms.map(|at| at.saturating_add(MARGIN_MS)));
    ends.retain(|end| *end < plan.phases.storm_ms);
    ends.sort_unstable();
    ends.into_iter().any(|end| {
        let mut smaller = trial.plan().clone();
        smaller.phases.storm_ms = end;
        // What begins at the end of no storm at all does not begin.
        let is_within = |at_ms: u64| at_ms <= end && end > 0;
        smaller.faults.retain(|fault| is_within(fault.at_ms));
        smaller.inputs.retain(|input| input.phase != Phase::Storm || is_within(input.at_ms));
        trial.keeps(smaller, end == 0)
    })
}

fn faults(trial: &mut Trial<'_>) -> bool {
    let all = trial.plan().faults.clone();
    let (_, is_less) = minimise(all.clone(), |left| {
        let is_large = (all.len() - left.len()) * LARGE >= all.len();
        let smaller = Plan { faults: left.to_vec(), ..trial.plan().clone() };
        trial.keeps(smaller, is_large)
    });
    is_less
}

/// Whole portfolios, securities and dates.
fn groups(trial: &mut Trial<'_>) -> bool {
    let mut is_smaller = false;
    for fields in names::DIMENSIONS {
        let inputs = trial.plan().inputs.clone();
        let labels: Vec<_> = inputs.iter().map(|input| names::label(input, fields)).collect();
        let known: BTreeSet<String> = labels.iter().flatten().cloned().collect();
        let count = known.len();
        let (_, is_less) = minimise(known.into_iter().collect(), |left| {
            let is_left = |label: &Option<String>| {
                label.as_ref().is_none_or(|label| left.binary_search(label).is_ok())
            };
            let kept = inputs.iter().zip(&labels).filter(|(_, label)| is_left(label));
            let kept = kept.map(|(input, _)| input.clone()).collect();
            let smaller = Plan { inputs: kept, ..trial.plan().clone() };
            trial.keeps(smaller, (count - left.len()) * LARGE >= count)
        });
        is_smaller |= is_less;
    }
    is_smaller
}

/// Inputs one by one: first the storm's, then those of the initial state.
fn inputs(trial: &mut Trial<'_>) -> bool {
    let mut is_smaller = false;
    for phase in [Phase::Storm, Phase::Warmup] {
        let split = |plan: &Plan| -> (Vec<PlannedInput>, Vec<PlannedInput>) {
            plan.inputs.iter().cloned().partition(|input| input.phase == phase)
        };
        let (own, others) = split(trial.plan());
        let count = own.len();
        let (_, is_less) = minimise(own, |left| {
            // The warm-up stands before the storm.
            let inputs = match phase {
                Phase::Storm => [others.as_slice(), left].concat(),
                _ => [left, others.as_slice()].concat(),
            };
            let smaller = Plan { inputs, ..trial.plan().clone() };
            trial.keeps(smaller, (count - left.len()) * LARGE >= count)
        });
        is_smaller |= is_less;
    }
    is_smaller
}

fn readers(trial: &mut Trial<'_>) -> bool {
    let count = u64::from(trial.plan().readers.count);
    let left = lower(0, count, |count| {
        let mut smaller = trial.plan().clone();
        smaller.readers.count = count as u32;
        trial.keeps(smaller, true)
    });
    left < count
}

/// Instances of each process; a fault of an instance that is gone goes with it.
fn instances(trial: &mut Trial<'_>) -> bool {
    let mut is_smaller = false;
    let kinds: Vec<_> = trial.plan().cluster.instances.clone().into_iter().collect();
    for (kind, count) in kinds {
        let left = lower(1, u64::from(count), |left| {
            let mut smaller = trial.plan().clone();
            smaller.cluster.instances.insert(kind, left as u32);
            let gone = (left + 1..=u64::from(count)).map(|number| format!("{kind}-{number}"));
            let gone: BTreeSet<String> = gone.collect();
            forget(&mut smaller, &gone);
            trial.keeps(smaller, true)
        });
        is_smaller |= left < u64::from(count);
    }
    is_smaller
}

/// Takes out what names processes that are gone.
pub(super) fn forget(plan: &mut Plan, gone: &BTreeSet<String>) {
    plan.faults.retain(|fault| !names::is_orphan(fault, gone));
    if plan.tasks.starved().is_some_and(|starved| gone.contains(starved.as_str())) {
        plan.tasks = Tasks::Seeded;
    }
}

/// Tasks in the usual order.
fn tasks(trial: &mut Trial<'_>) -> bool {
    let smaller = Plan { tasks: Tasks::Seeded, ..trial.plan().clone() };
    !trial.plan().tasks.is_seeded() && trial.keeps(smaller, true)
}

/// Partitions and brokers.
fn partitions(trial: &mut Trial<'_>) -> bool {
    let mut is_smaller = false;
    if !trial.plan().cluster.topics.is_empty() {
        let mut smaller = trial.plan().clone();
        smaller.cluster.topics.clear();
        is_smaller |= trial.keeps(smaller, true);
    }
    let count = u64::from(trial.plan().cluster.partitions);
    let left = lower(1, count, |left| {
        let mut smaller = trial.plan().clone();
        smaller.cluster.partitions = left as u32;
        trial.keeps(smaller, true)
    });
    is_smaller |= left < count;
    let brokers = u64::from(trial.plan().cluster.brokers);
    let left = lower(1, brokers, |left| {
        let mut smaller = trial.plan().clone();
        smaller.cluster.brokers = left as u32;
        // Each replica has a broker of its own.
        let cluster = &mut smaller.cluster;
        cluster.replication_factor = cluster.replication_factor.min(cluster.brokers);
        cluster.min_insync = cluster.min_insync.min(cluster.replication_factor);
        let gone = (left as u32 + 1..=brokers as u32).map(kafka::ClusterSpec::broker_name);
        let gone: BTreeSet<String> = gone.map(String::from).collect();
        forget(&mut smaller, &gone);
        trial.keeps(smaller, true)
    });
    is_smaller | (left < brokers)
}

/// Knobs back to their defaults.
fn knobs(trial: &mut Trial<'_>) -> bool {
    let values = fields(&trial.plan().cluster.knobs);
    let changed = changed_knobs(&trial.plan().cluster.knobs);
    let (_, is_less) = minimise(changed, |left| {
        let mut knobs = fields(&Knobs::default());
        for name in left {
            knobs.insert(name.clone(), values[name].clone());
        }
        let knobs = serde_json::from_value(Value::Object(knobs));
        let mut smaller = trial.plan().clone();
        smaller.cluster.knobs = knobs.expect("knobs that were written can be read");
        trial.keeps(smaller, true)
    });
    is_less
}

/// Shorter faults.
fn durations(trial: &mut Trial<'_>) -> bool {
    let mut is_smaller = false;
    for number in 0..trial.plan().faults.len() {
        while let Some(half) = names::halved(&trial.plan().faults[number]) {
            let mut smaller = trial.plan().clone();
            smaller.faults[number] = half;
            if !trial.keeps(smaller, false) {
                break;
            }
            is_smaller = true;
        }
    }
    is_smaller
}

/// Times that can be read; they make nothing smaller.
fn times(trial: &mut Trial<'_>) -> bool {
    for step in ROUND_MS {
        let mut rounded = trial.plan().clone();
        let times = rounded.inputs.iter_mut().map(|input| &mut input.at_ms);
        for at in times.chain(rounded.faults.iter_mut().map(|fault| &mut fault.at_ms)) {
            *at -= *at % step;
        }
        if rounded == *trial.plan() || trial.keeps(rounded, false) {
            break;
        }
    }
    false
}

/// Names of the knobs that are not at their defaults.
pub(super) fn changed_knobs(knobs: &Knobs) -> Vec<String> {
    let defaults = fields(&Knobs::default());
    let changed =
        fields(knobs).into_iter().filter(|(name, value)| defaults.get(name) != Some(value));
    changed.map(|(name, _)| name).collect()
}

fn fields(knobs: &Knobs) -> Map<String, Value> {
    match serde_json::to_value(knobs) {
        Ok(Value::Object(fields)) => fields,
        _ => unreachable!("knobs are numbers by name"),
    }
}
