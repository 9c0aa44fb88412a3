//! The plan: a scenario in which nothing is left to be drawn, and its file.
//!
//! `plan.toml` runs again without the scenario (`run --plan`). Up to [`LISTED_INPUTS`] inputs stand
//! in it one by one, so that a person can read and edit them. A larger plan keeps the workload and
//! the digests of its data files instead; the inputs are generated again when it is loaded, and a
//! changed data file is an error.
//!
//! # Invariants
//! - Writing a plan and reading it gives the same inputs, in the same order, with the same numbers.
//! - Inputs are ordered by phase, then time; their ids count from 0.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use backdate_engine::domain::ids::PortfolioId;
use backdate_engine::domain::time::Timestamp;
use backdate_engine::ports::log::Topic;
use backdate_engine::runtime::{Knobs, ProcessKind};
use backdate_reports::recording::Phase;
use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use super::edits::Edit;
use super::expect::Expect;
use super::format::{ClusterSpec, On, Scenario, Workload};
use super::load::Loaded;
use super::problem::Problem;
use super::tasks::Tasks;
use crate::oracle::RuleId;
use crate::workload;
use crate::workload::market::Market;
use crate::world::faults::Fault;

/// Version of the file format.
pub const PLAN_VERSION: u32 = 1;
/// The most inputs that a plan file lists one by one: some 5 MB.
pub const LISTED_INPUTS: usize = 20_000;

/// A run, fully determined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`PLAN_VERSION`].
    pub plan_version: u32,
    /// Root of all random streams of the run; below 2^63.
    pub seed: u64,
    /// Name of the scenario.
    pub name: String,
    /// Where it can run.
    #[serde(default = "Scenario::on_sim")]
    pub on: Vec<On>,
    /// The scenario file, for the command that repeats the run.
    pub scenario: String,
    /// The wall clock at the start: the evening of the last business date.
    pub start: Timestamp,
    /// Expressions over `summary.json`.
    pub thresholds: Vec<String>,
    /// The rule that must break.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaks: Option<RuleId>,
    /// The rules that must find something to judge; all, if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub must_evaluate: Option<Vec<RuleId>>,
    /// Which task that is ready runs next.
    #[serde(default, skip_serializing_if = "Tasks::is_seeded")]
    pub tasks: Tasks,
    /// Brokers and instances.
    pub cluster: ClusterPlan,
    /// How long.
    pub phases: PhasesPlan,
    /// Readers that poll all the time.
    pub readers: ReadersPlan,
    /// What must have happened.
    pub expect: Expect,
    /// What goes wrong, in the order of the times at which it begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<PlannedFault>,
    /// How what is judged is doctored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<Edit>,
    /// Where the inputs come from, if they are too many to be listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<Generated>,
    /// The inputs; of a loaded plan, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<PlannedInput>,
}

/// The cluster of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterPlan {
    /// Broker processes, `kafka-1` and so on.
    pub brokers: u32,
    /// Replicas of a partition.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub replication_factor: u32,
    /// Replicas in sync without which a broker takes nothing.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub min_insync: u32,
    /// How long records are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<u64>,
    /// Partitions of a topic.
    pub partitions: u32,
    /// Partitions of topics that differ.
    pub topics: BTreeMap<Topic, u32>,
    /// Instances of each process; all processes are listed.
    pub instances: BTreeMap<ProcessKind, u32>,
    /// Knobs of all instances.
    pub knobs: Knobs,
}

/// Phases of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhasesPlan {
    /// The initial state must have settled by then.
    pub warmup_limit_ms: u64,
    /// Load and faults.
    pub storm_ms: u64,
    /// Everything must have converged by then.
    pub calm_limit_ms: u64,
}

/// Readers of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadersPlan {
    /// How many, `reader-1` and so on.
    pub count: u32,
    /// Pause between two reads of one reader.
    pub every_ms: u64,
    /// Portfolios that exist: the first and the last number of `P00001` and so on.
    pub portfolios: u32,
}

impl ReadersPlan {
    /// How many reads must be answered at the least in a storm of that length, whatever faults
    /// there are; at least one, if anybody reads.
    pub fn answered_min(&self, storm_ms: u64) -> u64 {
        let asked = u64::from(self.count) * storm_ms / self.every_ms.max(1);
        (asked / 10).max(u64::from(self.count.min(1)))
    }

    /// The portfolios that they read.
    pub fn portfolio_ids(&self) -> Rc<[PortfolioId]> {
        (1..=self.portfolios).map(workload::portfolio_id).collect()
    }
}

/// A fault and when it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedFault {
    /// Since the storm began.
    pub at_ms: u64,
    /// What.
    pub fault: Fault,
}

/// An input and when it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedInput {
    /// Number of the input.
    pub id: u64,
    /// Since the phase began.
    pub at_ms: u64,
    /// `Warmup` or `Storm`.
    pub phase: Phase,
    /// Topic.
    pub topic: Topic,
    /// Message key.
    pub key: SmolStr,
    /// Payload, JSON unless it is poison.
    pub value: Rc<str>,
    /// Header that travels through: what it is for, e.g. `live/17`.
    pub correlation_id: SmolStr,
}

/// Inputs that are generated when a plan is loaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generated {
    /// How many there must be.
    pub inputs: u64,
    /// Hash over all of them.
    pub digest: String,
    /// The workload of the scenario.
    pub workload: Workload,
}

impl Plan {
    /// Expands a scenario: first what a swarm draws of it, then workload and faults.
    pub fn expand(loaded: &Loaded, seed: u64) -> Plan {
        match &loaded.scenario.swarm {
            Some(swarm) => Plan::expand(&swarm.drawn(loaded, seed), seed),
            None => Plan::of(loaded, seed),
        }
    }

    fn of(loaded: &Loaded, seed: u64) -> Plan {
        let mut scenario = loaded.scenario.clone();
        loaded.market.name_files(&mut scenario.workload.data);
        let storm = scenario.phases.storm;
        let mut faults: Vec<PlannedFault> = scenario
            .faults
            .iter()
            .enumerate()
            .filter(|(_, spec)| !spec.is_off)
            .flat_map(|(number, spec)| {
                spec.expand(seed, number, &scenario.cluster, storm)
                    .expect("validation has expanded every fault once")
            })
            .collect();
        faults.sort_by_key(|fault| fault.at_ms);
        Plan {
            plan_version: PLAN_VERSION,
            seed,
            name: scenario.name.clone(),
            on: scenario.on.clone(),
            scenario: loaded.path.display().to_string(),
            start: loaded.market.evening(),
            thresholds: scenario.thresholds.clone(),
            breaks: scenario.breaks,
            must_evaluate: None,
            tasks: scenario
                .tasks
                .expand(seed, &scenario.cluster)
                .expect("validation has expanded it once"),
            cluster: ClusterPlan::of(&scenario.cluster),
            phases: PhasesPlan {
                warmup_limit_ms: scenario.phases.warmup_limit.0,
                storm_ms: storm.0,
                calm_limit_ms: scenario.phases.calm_limit.0,
            },
            readers: ReadersPlan {
                count: scenario.workload.readers.count,
                every_ms: scenario.workload.readers.every.0,
                portfolios: scenario.workload.portfolios.count,
            },
            expect: scenario.expect.clone(),
            faults,
            edits: scenario.edits.clone(),
            generated: None,
            inputs: workload::generate(&scenario.workload, &loaded.market, seed, storm),
        }
        .with_generator(&scenario.workload)
    }

    fn with_generator(mut self, workload: &Workload) -> Self {
        if self.inputs.len() > LISTED_INPUTS {
            self.generated = Some(Generated {
                inputs: self.inputs.len() as u64,
                digest: digest(&self.inputs),
                workload: workload.clone(),
            });
        }
        self
    }

    /// The same plan in less time: waits, times of inputs and faults divided by that; limits stay.
    #[must_use]
    pub fn hurried(mut self, by: f64) -> Plan {
        let divided = |ms: u64| (ms as f64 / by).round() as u64;
        self.phases.storm_ms = divided(self.phases.storm_ms);
        for input in &mut self.inputs {
            input.at_ms = divided(input.at_ms);
        }
        for planned in &mut self.faults {
            planned.at_ms = divided(planned.at_ms);
            planned.fault.hurry(&divided);
        }
        for edit in &mut self.edits {
            edit.at.0 = divided(edit.at.0);
        }
        self
    }

    /// The text of `plan.toml`.
    pub fn to_toml(&self) -> String {
        let text = if self.generated.is_some() {
            let mut compact = self.clone();
            compact.inputs = Vec::new();
            toml::to_string(&compact)
        } else {
            toml::to_string(self)
        };
        text.expect("every part of a plan can be written as TOML")
    }

    /// Reads `plan.toml`.
    pub fn from_toml(path: &Path, text: &str) -> Result<Plan, Problem> {
        let problem = |field: &str, message: String| Problem {
            place: path.display().to_string(),
            field: field.to_owned(),
            message,
        };
        let mut plan: Plan = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
            Problem {
                place: format!("{}:{line}", path.display()),
                field: String::new(),
                message: format!("is no plan: {}", error.message()),
            }
        })?;
        if plan.plan_version != PLAN_VERSION {
            let cure = format!("this build reads version {PLAN_VERSION}; expand the seed again");
            return Err(problem("plan_version", format!("= {}: {cure}", plan.plan_version)));
        }
        if let Some(starved) = plan.tasks.starved().filter(|name| !plan.cluster.has(name)) {
            let why = format!("= \"{starved}\": there is no such process in the cluster");
            return Err(problem("tasks.starve", why));
        }
        if let Some(generated) = &plan.generated {
            let folder = path.parent().unwrap_or(Path::new("."));
            let market = Market::read(&generated.workload.data, folder)
                .map_err(|(field, message)| problem(&format!("workload.data.{field}"), message))?;
            let storm = super::duration::Millis(plan.phases.storm_ms);
            let inputs = workload::generate(&generated.workload, &market, plan.seed, storm);
            if digest(&inputs) != generated.digest {
                let why = "the data files or the generator have changed since it was written";
                return Err(problem("generated.digest", why.into()));
            }
            plan.inputs = inputs;
        }
        Ok(plan)
    }
}

impl ClusterPlan {
    /// Whether a process of that name starts with the cluster.
    fn has(&self, process: &str) -> bool {
        let numbered = |kind: &str, count: u32| {
            (1..=count).any(|number| process == format_smolstr!("{kind}-{number}"))
        };
        process == "postgres"
            || numbered("kafka", self.brokers)
            || self.instances.iter().any(|(kind, count)| numbered(&kind.to_string(), *count))
    }

    fn of(spec: &ClusterSpec) -> Self {
        Self {
            brokers: spec.brokers,
            replication_factor: spec.replication_factor,
            min_insync: spec.min_insync,
            retention_ms: spec.retention.map(|kept| kept.0),
            partitions: spec.partitions,
            topics: spec.topics.clone(),
            instances: ProcessKind::ALL.iter().map(|kind| (*kind, spec.instances(*kind))).collect(),
            knobs: spec.knobs.clone(),
        }
    }
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(count: &u32) -> bool {
    *count == 1
}

/// A hash over all inputs.
fn digest(inputs: &[PlannedInput]) -> String {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    for input in inputs {
        hasher.update(&input.at_ms.to_le_bytes());
        for text in [input.topic.as_str(), &input.key, &input.value, &input.correlation_id] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
    }
    format!("{:032x}", hasher.digest128())
}
