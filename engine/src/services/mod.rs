//! One file per process of the contract: reads a port, decides with the domain, writes a port.
//!
//! Every service runs as any number of instances, each of which may be killed at any instruction,
//! so a service keeps nothing in memory that it could not lose.

mod backoff;
pub mod cashflow_calculator;
mod consume;
pub mod instance;
mod invalidation;
pub mod outbox_dispatcher;
pub mod persistence;
pub mod position_calculator;
pub mod position_valuation_calculator;
pub mod price_watcher;
pub mod query_api;
pub mod replayer;
pub mod reprocessing_worker;
pub mod timeseries_generator;
mod upserts;
pub mod valuation_scheduler;

use thiserror::Error;

use crate::ports::log::LogError;
use crate::ports::store::StoreError;

/// Why a batch failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ServiceError {
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log said no.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Somebody else was faster; the batch starts again.
    #[error("lost a race for {0}")]
    Raced(&'static str),
    /// The instance is asked to stop: the rest of the batch is somebody else's.
    #[error("the instance stops")]
    Stopping,
}

/// The port calls of every process, in the order of a pass: each has a crash point before and one
/// after it.
pub const PORT_CALLS: &[(&str, &[&str])] = &[
    (persistence::PROCESS, persistence::CALLS),
    (position_calculator::PROCESS, position_calculator::CALLS),
    (replayer::PROCESS, replayer::CALLS),
    (price_watcher::PROCESS, price_watcher::CALLS),
    (valuation_scheduler::PROCESS, valuation_scheduler::CALLS),
    (reprocessing_worker::PROCESS, reprocessing_worker::CALLS),
    (position_valuation_calculator::PROCESS, position_valuation_calculator::CALLS),
    (cashflow_calculator::PROCESS, cashflow_calculator::CALLS),
    (timeseries_generator::PROCESS, timeseries_generator::CALLS),
    (outbox_dispatcher::PROCESS, outbox_dispatcher::CALLS),
    (query_api::PROCESS, query_api::CALLS),
];

/// Whether a port call of a process stands in [`PORT_CALLS`], so that a crash can be planned there.
fn is_listed(process: &str, call: &str) -> bool {
    let calls = PORT_CALLS.iter().find(|(listed, _)| *listed == process);
    calls.is_some_and(|(_, calls)| calls.contains(&call))
}
