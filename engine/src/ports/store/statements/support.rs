//! What an operator looks at: where keys are, what they wait for, and why.

use serde::{Deserialize, Serialize};

use super::super::rows::{
    EpochRow, JobStatus, KeyState, ReplayRow, ReprocessingJobRow, TriggerRow, ValuationJobRow,
};
use crate::domain::ids::{Currency, Key, PortfolioId};
use crate::domain::records::{ParkReason, Place};
use crate::domain::time::{Date, Timestamp};

statements! {
    /// Keys that are `REPROCESSING` and were not changed for `$older_than_ms`, by the database's
    /// clock, in key order, at most `$limit` of them after `$after`.
    FindStuckKeys {
        /// Milliseconds since the last change.
        older_than_ms: u64,
        /// Last key seen.
        after: Option<Key>,
        /// Most keys.
        limit: u32,
    } -> Vec<StuckKey>;

    /// Valuation jobs in the order of their ids, at most `$limit` of them after `$after`.
    FindValuationJobs {
        /// Of that state only.
        status: Option<JobStatus>,
        /// Id of the last job seen; none has id 0.
        after: u64,
        /// Most jobs.
        limit: u32,
    } -> Vec<ValuationJobRow>;

    /// How a portfolio stands, from one snapshot of the database. None: it has neither a row of its
    /// own nor a key.
    ReadPortfolioOverview {
        /// The portfolio.
        portfolio_id: PortfolioId,
    } -> Option<PortfolioOverview>;

    /// Where a key is, what waits for it and what it waits for, from one snapshot of the database.
    /// Jobs are those that hold the key, with that key alone in them; triggers and fan-outs are
    /// those of its security, its portfolio, the calendar and the pairs that its look-ups consult
    /// (see [`super::ScanKeys`]); parked transactions come in place order. None: there is no such
    /// key.
    ReadLineage {
        /// The key.
        key: Key,
        /// Most jobs, and most parked transactions.
        limit: u32,
    } -> Option<Lineage>;
}

/// A key that is being reprocessed, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckKey {
    /// Token, watermark, status.
    pub state: KeyState,
    /// The open rebuild of its history.
    pub replay: Option<ReplayRow>,
    /// Valuation jobs that hold it.
    pub jobs: u64,
    /// Transactions that are parked.
    pub parked: u64,
}

/// How a portfolio stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortfolioOverview {
    /// Its base currency; none as long as it is not known.
    pub base_currency: Option<Currency>,
    /// Its keys.
    pub keys: u64,
    /// Those that are `REPROCESSING`.
    pub reprocessing: u64,
    /// Last change of the one of them that has waited for longest.
    pub reprocessing_since: Option<Timestamp>,
    /// Open replays.
    pub replays: u64,
    /// Keys in valuation jobs, counted once for each job.
    pub jobs: u64,
    /// Those of jobs that wait for named missing data.
    pub waiting_jobs: u64,
    /// Transactions that are parked, by reason; a reason that is not listed has none.
    pub parked: Vec<(ParkReason, u64)>,
    /// The earliest watermark of its keys.
    pub watermark_date: Option<Date>,
    /// The latest business date.
    pub latest_business_date: Option<Date>,
}

/// A transaction that cannot be applied at its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedTransaction {
    /// Its place.
    pub place: Place,
    /// Why.
    pub reason: ParkReason,
}

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// Token, watermark, status.
    pub state: KeyState,
    /// Its versions.
    pub epochs: Vec<EpochRow>,
    /// The open rebuild of its history.
    pub replay: Option<ReplayRow>,
    /// Jobs that hold it.
    pub jobs: Vec<ValuationJobRow>,
    /// News that no fan-out has taken on yet.
    pub triggers: Vec<TriggerRow>,
    /// Fan-outs under way.
    pub fan_outs: Vec<ReprocessingJobRow>,
    /// Transactions that the timeline has taken in.
    pub transactions: u64,
    /// Those that are parked.
    pub parked: Vec<ParkedTransaction>,
}
