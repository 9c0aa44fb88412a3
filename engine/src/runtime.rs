//! Composition: which services an instance runs, and the knobs that capacity planning turns.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::records::named;
use crate::ports::Ports;
use crate::ports::clock::Clock;
use crate::ports::host::Host;
use crate::services::instance::Instance;
use crate::services::{
    cashflow_calculator, outbox_dispatcher, persistence, position_calculator,
    position_valuation_calculator, price_watcher, query_api, replayer, reprocessing_worker,
    timeseries_generator, valuation_scheduler,
};

named!(
    /// The kinds of processes. `position-calculator` runs the `replayer` beside its consumer.
    ProcessKind {
        /// Raw topics to tables.
        Persistence = "persistence",
        /// Timelines, costs, positions; with the replayer.
        PositionCalculator = "position-calculator",
        /// Prices and rates to triggers.
        PriceWatcher = "price-watcher",
        /// Triggers to jobs, gaps to jobs, watermarks.
        ValuationScheduler = "valuation-scheduler",
        /// Jobs to holders.
        ReprocessingWorker = "reprocessing-worker",
        /// Daily snapshots.
        PositionValuationCalculator = "position-valuation-calculator",
        /// Cash flows.
        CashflowCalculator = "cashflow-calculator",
        /// Series of positions and portfolios.
        TimeseriesGenerator = "timeseries-generator",
        /// The outbox to the log.
        OutboxDispatcher = "outbox-dispatcher",
        /// What is asked from outside.
        QueryApi = "query-api",
    }
);

/// Knobs of an instance. All are at least 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Knobs {
    /// Pause of a consumer between two batches; a longer one makes larger batches.
    pub consumer_poll_ms: u64,
    /// Records of one batch.
    pub consumer_batch: u32,
    /// Pause of an outbox dispatcher that found nothing.
    pub outbox_poll_ms: u64,
    /// Events that are published in one transaction.
    pub outbox_batch: u32,
    /// Lanes of the outbox, at most [`MAX_OUTBOX_LANES`]: the most dispatchers that publish at the
    /// same time.
    pub outbox_lanes: u32,
    /// Pause of a replayer that found nothing.
    pub replay_poll_ms: u64,
    /// Keys of one replay transaction.
    pub replay_keys: u32,
    /// Transactions per key of one replay chunk.
    pub replay_chunk: u32,
    /// Pause of the scheduler between two rounds.
    pub scheduler_poll_ms: u64,
    /// Triggers handed on in one transaction.
    pub trigger_batch: u32,
    /// Keys visited in one transaction.
    pub visit_batch: u32,
    /// Transactions of visits in one round.
    pub visits_per_round: u32,
    /// Keys of one valuation job.
    pub job_keys: u32,
    /// Business dates of one valuation job.
    pub job_days: u32,
    /// Jobs claimed in one transaction.
    pub claim_batch: u32,
    /// Jobs in flight at the same time.
    pub jobs_in_flight: u32,
    /// Lease of a claimed job.
    pub lease_ms: u64,
    /// Back-off of a job that waits for named missing data.
    pub wait_ms: u64,
    /// Pause of a reprocessing worker that found nothing.
    pub worker_poll_ms: u64,
    /// Keys that a fan-out visits in one transaction.
    pub fanout_batch: u32,
    /// First pause after an error; doubled up to `retry_max_ms`.
    pub retry_min_ms: u64,
    /// Longest pause after an error.
    pub retry_max_ms: u64,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            consumer_poll_ms: 100,
            consumer_batch: 500,
            outbox_poll_ms: 50,
            outbox_batch: 500,
            outbox_lanes: 8,
            replay_poll_ms: 100,
            replay_keys: 50,
            replay_chunk: 500,
            scheduler_poll_ms: 200,
            trigger_batch: 100,
            visit_batch: 200,
            visits_per_round: 10,
            job_keys: 200,
            job_days: 100,
            claim_batch: 20,
            jobs_in_flight: 64,
            lease_ms: 10_000,
            wait_ms: 2_000,
            worker_poll_ms: 100,
            fanout_batch: 200,
            retry_min_ms: 50,
            retry_max_ms: 2_000,
        }
    }
}

/// Lanes that the schema has from the start.
pub const MAX_OUTBOX_LANES: u32 = 1_024;

impl Knobs {
    /// The knobs that no instance can work with: name, and value with what it must be.
    pub fn problems(&self) -> Vec<(String, String)> {
        let knobs = serde_json::to_value(self).expect("knobs are numbers by name");
        let zeros = knobs.as_object().into_iter().flatten();
        let zeros = zeros.filter(|(_, value)| value.as_u64() == Some(0));
        let mut problems: Vec<_> =
            zeros.map(|(name, _)| (name.clone(), "= 0: must be at least 1".to_owned())).collect();
        if self.outbox_lanes > MAX_OUTBOX_LANES {
            let wrong = format!("= {}: must be at most {MAX_OUTBOX_LANES}", self.outbox_lanes);
            problems.push(("outbox_lanes".to_owned(), wrong));
        }
        problems
    }
}

/// How often an instance that stops looks whether what runs beside it has ended.
const STOP_POLL: Duration = Duration::from_millis(20);

/// Runs an instance of a process until it is killed or asked to stop; then it ends after the batch
/// in hand, and nothing of it runs any more.
pub async fn run<P: Ports>(kind: ProcessKind, ports: P, knobs: Knobs) {
    let instance = |process| Instance { ports: ports.clone(), knobs: knobs.clone(), process };
    match kind {
        ProcessKind::Persistence => persistence::run(instance(persistence::PROCESS)).await,
        ProcessKind::PositionCalculator => {
            let beside = Rc::new(Cell::new(true));
            ports.host().spawn({
                let (replayer, beside) = (instance(replayer::PROCESS), beside.clone());
                async move {
                    replayer::run(replayer).await;
                    beside.set(false);
                }
            });
            position_calculator::run(instance(position_calculator::PROCESS)).await;
            while beside.get() {
                ports.clock().sleep(STOP_POLL).await;
            }
        }
        ProcessKind::PriceWatcher => price_watcher::run(instance(price_watcher::PROCESS)).await,
        ProcessKind::ValuationScheduler => {
            valuation_scheduler::run(instance(valuation_scheduler::PROCESS)).await;
        }
        ProcessKind::ReprocessingWorker => {
            reprocessing_worker::run(instance(reprocessing_worker::PROCESS)).await;
        }
        ProcessKind::PositionValuationCalculator => {
            let instance = instance(position_valuation_calculator::PROCESS);
            position_valuation_calculator::run(instance).await;
        }
        ProcessKind::CashflowCalculator => {
            cashflow_calculator::run(instance(cashflow_calculator::PROCESS)).await;
        }
        ProcessKind::TimeseriesGenerator => {
            timeseries_generator::run(instance(timeseries_generator::PROCESS)).await;
        }
        ProcessKind::OutboxDispatcher => {
            outbox_dispatcher::run(instance(outbox_dispatcher::PROCESS)).await;
        }
        ProcessKind::QueryApi => query_api::run(instance(query_api::PROCESS)).await,
    }
}
