//! A cluster: brokers, the database, and the instances of the engine, as processes of a world.
//!
//! The engine in here is the very crate that runs in production; only its ports are simulated.

#[cfg(test)]
mod api_tests;
mod contain;
mod operator;
mod ports;
mod servers;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use backdate_engine::ports::log::Topic;
use backdate_engine::runtime::{self, Knobs, ProcessKind};
use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use contain::contained;
pub use ports::{API_PORT, SimPorts};

use crate::kafka;
use crate::postgres::{self, client, disk::Disk, profile::Profile};
use crate::world::{Control, Main, Process};

/// Shape of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// Instances of each process; a process that is not listed has one.
    pub instances: BTreeMap<ProcessKind, u32>,
    /// Knobs of all instances.
    pub knobs: Knobs,
    /// Connections that one instance may have open.
    pub connections: u32,
    /// CPU of an engine instance per port call, in microseconds: encoding, deciding, decoding.
    pub cpu_us_per_call: u64,
    /// Shortest and longest network latency in microseconds.
    pub latency_us: (u64, u64),
    /// The brokers.
    pub kafka: kafka::ClusterSpec,
    /// The database.
    pub postgres: Profile,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            instances: BTreeMap::new(),
            knobs: Knobs::default(),
            connections: 4,
            cpu_us_per_call: 30,
            latency_us: (500, 1_500),
            kafka: kafka::ClusterSpec::default(),
            postgres: Profile::default(),
        }
    }
}

impl ClusterConfig {
    /// Instances of a process.
    pub fn instances_of(&self, kind: ProcessKind) -> u32 {
        self.instances.get(&kind).copied().unwrap_or(1)
    }

    /// The first setting that no cluster can have, in words.
    pub fn problem(&self) -> Option<String> {
        let knobs = self.knobs.problems().into_iter();
        let knobs = knobs.map(|(name, wrong)| format!("cluster.knobs.{name} {wrong}"));
        let idle = self.instances.iter().filter(|(_, count)| **count == 0);
        let idle =
            idle.map(|(kind, _)| format!("cluster.instances.{kind} = 0: must be at least 1"));
        let rest = [
            (self.connections == 0, "cluster.connections = 0: must be at least 1"),
            (self.postgres.workers == 0, "cluster.postgres.workers = 0: must be at least 1"),
            (
                self.latency_us.0 > self.latency_us.1,
                "cluster.latency_us: the first must not be above the second",
            ),
        ];
        let rest = rest.into_iter().filter(|(wrong, _)| *wrong).map(|(_, text)| text.to_owned());
        let kafka = self.kafka.problem().map(|text| format!("cluster.kafka: {text}"));
        knobs.chain(idle).chain(rest).chain(kafka).next()
    }

    /// The network latency.
    pub fn latency(&self) -> (Duration, Duration) {
        (Duration::from_micros(self.latency_us.0), Duration::from_micros(self.latency_us.1))
    }

    /// The most keys that one transaction may hold locked.
    pub fn keys_per_transaction(&self) -> u32 {
        let knobs = &self.knobs;
        [knobs.consumer_batch, knobs.replay_keys, knobs.visit_batch, knobs.job_keys]
            .into_iter()
            .fold(knobs.fanout_batch, u32::max)
    }

    /// How many requests each process can serve at the same time; an instance of the engine runs on
    /// one thread.
    pub fn workers(&self, process: &str) -> u32 {
        match process {
            POSTGRES => u32::try_from(self.postgres.workers).unwrap_or(u32::MAX),
            broker if broker.starts_with("kafka-") => self.kafka.profile.workers,
            _ => 1,
        }
    }

    /// Names of the engine's processes, in the order in which they start.
    pub fn engine_processes(&self) -> impl Iterator<Item = (ProcessKind, SmolStr)> + '_ {
        ProcessKind::ALL.iter().flat_map(|kind| {
            (1..=self.instances_of(*kind)).map(move |n| (*kind, format_smolstr!("{kind}-{n}")))
        })
    }
}

/// The consumer groups of the engine with their topics.
pub const GROUPS: [(&str, &[Topic]); 6] = [
    (
        "persistence",
        &[
            Topic::RawPortfolios,
            Topic::Instruments,
            Topic::RawBusinessDates,
            Topic::FxRates,
            Topic::MarketPrices,
            Topic::RawTransactions,
        ],
    ),
    ("position-calculator", &[Topic::RawTransactionsCompleted]),
    ("price-watcher", &[Topic::MarketPricePersisted, Topic::FxRatePersisted]),
    ("position-valuation-calculator", &[Topic::ValuationRequired]),
    ("cashflow-calculator", &[Topic::ProcessedTransactionsCompleted]),
    (
        "timeseries-generator",
        &[Topic::DailyPositionSnapshotPersisted, Topic::PortfolioAggregationRequired],
    ),
];

/// Name of the database's process.
pub const POSTGRES: &str = "postgres";

/// The database, as the harness holds it.
#[derive(Clone, Default)]
pub struct Database {
    /// What is committed.
    pub disk: Disk,
    /// What can be broken.
    pub control: postgres::control::ServerControl,
}

/// A running cluster, as the harness holds it.
#[derive(Clone)]
pub struct Cluster {
    /// The brokers.
    pub kafka: kafka::Cluster,
    /// The database.
    pub postgres: Database,
    config: Rc<ClusterConfig>,
}

impl Cluster {
    /// Starts the processes of a cluster in a world.
    pub fn start(control: &Control, config: ClusterConfig) -> Self {
        let cluster = Self {
            kafka: kafka::Cluster::new(config.kafka.clone()),
            postgres: Database::default(),
            config: Rc::new(config),
        };
        for (name, main) in cluster.kafka.brokers() {
            control.add_process(name, main);
        }
        let Database { disk, control: faults } = cluster.postgres.clone();
        let profile = cluster.config.postgres.clone();
        control.add_process(POSTGRES, postgres::server::main(profile, disk, faults));
        for (kind, name) in cluster.config.engine_processes() {
            control.add_process(name, cluster.engine_main(kind));
        }
        cluster
    }

    /// The main function of an engine process.
    pub fn engine_main(&self, kind: ProcessKind) -> Main {
        let cluster = self.clone();
        Rc::new(move |process| {
            let ports = cluster.ports(process.clone());
            let code = runtime::run(kind, ports, cluster.config.knobs.clone());
            Box::pin(contained(process, code))
        })
    }

    /// The ports of an instance that runs in a process.
    pub fn ports(&self, process: Process) -> SimPorts {
        let store = self.store(process.clone());
        let log = self.kafka.client(process.clone());
        let call = Duration::from_micros(self.config.cpu_us_per_call);
        SimPorts::new(process, store, log, call)
    }

    /// A client of the database in a process.
    pub fn store(&self, process: Process) -> client::Client {
        let connections = self.config.connections as usize;
        client::Client::with_connections(process, POSTGRES, connections)
    }

    /// Its shape.
    pub fn config(&self) -> &ClusterConfig {
        &self.config
    }
}
