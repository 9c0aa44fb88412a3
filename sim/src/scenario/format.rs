//! The scenario file: its sections and fields.
//!
//! Data only; the workload is in [`workload`]. Ranges are checked in `validate`, because a check
//! there can name the line.
//!
//! # Invariants
//! - No section accepts a key that it does not know.

pub mod workload;

use std::collections::BTreeMap;

use backdate_engine::ports::log::Topic;
use backdate_engine::runtime::{Knobs, ProcessKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

pub use workload::Workload;

use super::duration::Millis;
use super::edits::Edit;
use super::expect::Expect;
use super::faults::FaultSpec;
use super::schema;
use super::swarm::Swarm;
use super::tasks::Tasks;
use crate::oracle::RuleId;

/// A scenario file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short name, as in its path.
    pub name: String,
    /// One sentence: what it shows.
    pub about: String,
    /// Where it can run.
    #[serde(default = "Scenario::on_sim")]
    pub on: Vec<On>,
    /// Expressions over `summary.json`, e.g. `catch_up_seconds <= 120`.
    #[serde(default)]
    pub thresholds: Vec<String>,
    /// The rule that must break, and no other: a test of the rule. `run` ends with 1 as ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaks: Option<RuleId>,
    /// The most seeds that a sweep runs it under, because a run takes long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds_max: Option<u64>,
    /// Brokers and instances.
    #[serde(default)]
    pub cluster: ClusterSpec,
    /// Inputs and readers.
    pub workload: Workload,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Vec<FaultSpec>,
    /// How what is judged is doctored, so that a rule breaks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<Edit>,
    /// Which task that is ready runs next.
    #[serde(default, skip_serializing_if = "Tasks::is_seeded")]
    pub tasks: Tasks,
    /// What a seed draws of all this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swarm: Option<Swarm>,
    /// How long.
    pub phases: Phases,
    /// What must have happened.
    #[serde(default)]
    pub expect: Expect,
}

impl Scenario {
    /// Where a scenario runs that does not say so.
    pub(super) fn on_sim() -> Vec<On> {
        vec![On::Sim]
    }
}

/// A world that a scenario runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// The simulator.
    Sim,
    /// Real services.
    Real,
}

/// `[cluster]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterSpec {
    /// Broker processes.
    pub brokers: u32,
    /// Replicas of a partition, on as many brokers.
    pub replication_factor: u32,
    /// Replicas in sync without which a broker takes nothing.
    pub min_insync: u32,
    /// How long records are kept, also if nobody has read them; for ever, if it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Millis>,
    /// Partitions of a topic.
    pub partitions: u32,
    /// Partitions of topics that differ.
    #[schemars(schema_with = "schema::topics")]
    pub topics: BTreeMap<Topic, u32>,
    /// Instances.
    pub persistence: u32,
    /// Instances.
    #[serde(rename = "position-calculator")]
    pub position_calculator: u32,
    /// Instances.
    #[serde(rename = "price-watcher")]
    pub price_watcher: u32,
    /// Instances.
    #[serde(rename = "valuation-scheduler")]
    pub valuation_scheduler: u32,
    /// Instances.
    #[serde(rename = "reprocessing-worker")]
    pub reprocessing_worker: u32,
    /// Instances.
    #[serde(rename = "position-valuation-calculator")]
    pub position_valuation_calculator: u32,
    /// Instances.
    #[serde(rename = "cashflow-calculator")]
    pub cashflow_calculator: u32,
    /// Instances.
    #[serde(rename = "timeseries-generator")]
    pub timeseries_generator: u32,
    /// Instances.
    #[serde(rename = "outbox-dispatcher")]
    pub outbox_dispatcher: u32,
    /// Instances.
    #[serde(rename = "query-api")]
    pub query_api: u32,
    /// Knobs of all instances.
    #[schemars(schema_with = "schema::knobs")]
    pub knobs: Knobs,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            brokers: 1,
            replication_factor: 1,
            min_insync: 1,
            retention: None,
            partitions: 4,
            topics: BTreeMap::new(),
            persistence: 1,
            position_calculator: 1,
            price_watcher: 1,
            valuation_scheduler: 1,
            reprocessing_worker: 1,
            position_valuation_calculator: 1,
            cashflow_calculator: 1,
            timeseries_generator: 1,
            outbox_dispatcher: 1,
            query_api: 1,
            knobs: Knobs::default(),
        }
    }
}

impl ClusterSpec {
    /// Instances of a process.
    pub fn instances(&self, kind: ProcessKind) -> u32 {
        match kind {
            ProcessKind::Persistence => self.persistence,
            ProcessKind::PositionCalculator => self.position_calculator,
            ProcessKind::PriceWatcher => self.price_watcher,
            ProcessKind::ValuationScheduler => self.valuation_scheduler,
            ProcessKind::ReprocessingWorker => self.reprocessing_worker,
            ProcessKind::PositionValuationCalculator => self.position_valuation_calculator,
            ProcessKind::CashflowCalculator => self.cashflow_calculator,
            ProcessKind::TimeseriesGenerator => self.timeseries_generator,
            ProcessKind::OutboxDispatcher => self.outbox_dispatcher,
            ProcessKind::QueryApi => self.query_api,
        }
    }

    /// Names of the engine's processes.
    pub fn engine_processes(&self) -> Vec<SmolStr> {
        let names = |kind: &ProcessKind| {
            let kind = *kind;
            (1..=self.instances(kind)).map(move |n| format_smolstr!("{kind}-{n}"))
        };
        ProcessKind::ALL.iter().flat_map(names).collect()
    }
}

/// `[phases]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Phases {
    /// The initial state must have settled by then.
    #[serde(default = "two_minutes")]
    pub warmup_limit: Millis,
    /// Load and faults.
    pub storm: Millis,
    /// Everything must have converged by then, as long as there is progress.
    #[serde(default = "ten_minutes")]
    pub calm_limit: Millis,
}

fn two_minutes() -> Millis {
    Millis(120_000)
}

fn ten_minutes() -> Millis {
    Millis(600_000)
}
