//! Valuation: which keys are due, the jobs over them, and the snapshots that these leave.

use serde::{Deserialize, Serialize};

use super::super::rows::{JobKey, PriceRow, RateRow, SnapshotRow, ValuationJobRow};
use crate::domain::ids::{Currency, Epoch, Key, Revision, SecurityId};
use crate::domain::records::Position;
use crate::domain::time::Date;

statements! {
    /// Per pair `(from, to)` of `$pairs`, exactly as directed: rows of `fx_rates` dated in
    /// `($from, $to]` plus the latest dated on or before `$from`, in date order.
    ReadRates {
        /// Directed pairs.
        pairs: Vec<(Currency, Currency)>,
        /// The latest rate on or before this date opens the series.
        from: Date,
        /// Last date.
        to: Date,
    } -> Vec<RateRow>;

    /// Per security of `$securities`: rows of `market_prices` dated in `($from, $to]` plus the
    /// latest dated on or before `$from`, in date order.
    ReadPrices {
        /// Securities.
        securities: Vec<SecurityId>,
        /// The latest price on or before this date opens the series.
        from: Date,
        /// Last date.
        to: Date,
    } -> Vec<PriceRow>;

    /// `SELECT key FROM position_state ps WHERE key > $after AND (status = 'REPROCESSING' OR
    /// watermark_date <> (SELECT max(business_date) .. GLOBAL)) AND NOT EXISTS (open replay of the
    /// key) AND NOT EXISTS (key of a valuation job with the key's current token) ORDER BY key LIMIT
    /// $limit`, no lock. Without any business date a key is due while `REPROCESSING` only.
    FindDueKeys {
        /// Keys after this one; none: from the first.
        after: Option<Key>,
        /// At most so many.
        limit: u32,
    } -> Vec<Key>;

    /// Facts about locked keys, in a statement that starts after the lock.
    ReadProgress {
        /// The keys as locked.
        keys: Vec<ProgressQuery>,
    } -> Vec<Progress>;

    /// `INSERT INTO portfolio_valuation_jobs (id, ..) SELECT nextval('job_id'), .. FROM
    /// unnest($jobs)`: PENDING, attempts 0, `not_before` = now().
    InsertValuationJobs {
        /// Keys and range of each job.
        jobs: Vec<NewValuationJob>,
    } -> ();

    /// `DELETE FROM portfolio_valuation_jobs` of jobs that [`ClaimValuationJobs`] could claim and
    /// that are superseded: each of their keys has a revision above the one that the job has for
    /// it. In id order, those before the `$fresh`-th job that is not superseded, at most `$limit`,
    /// `FOR UPDATE SKIP LOCKED`; answers their ids in that order. No key is locked for it, as a
    /// revision never falls. It looks at the first `$fresh + $limit` jobs for the `$fresh`-th.
    DropSupersededJobs {
        /// So many jobs are to be claimed afterwards, at least one.
        fresh: u32,
        /// At most so many.
        limit: u32,
    } -> Vec<u64>;

    /// `WITH c AS MATERIALIZED (SELECT id FROM portfolio_valuation_jobs WHERE (status IN
    /// ('PENDING', 'WAITING') AND not_before <= now()) OR (status = 'PROCESSING' AND lease_until <
    /// now()) ORDER BY id LIMIT $limit FOR UPDATE SKIP LOCKED) UPDATE .. SET status = 'PROCESSING',
    /// attempts = attempts + 1, lease_until = now() + $lease RETURNING *`, in id order. `$limit` is
    /// lowered to `$in_flight_max` minus the jobs that are PROCESSING under a live lease.
    ClaimValuationJobs {
        /// At most so many.
        limit: u32,
        /// Jobs in flight at the same time.
        in_flight_max: u32,
        /// Lease in milliseconds.
        lease_ms: u64,
    } -> Vec<ValuationJobRow>;

    /// `SELECT * FROM portfolio_valuation_jobs WHERE id = $id FOR UPDATE`; taken after the keys.
    LockValuationJob {
        /// The job.
        id: u64,
    } -> Option<ValuationJobRow>;

    /// `SELECT business_date FROM business_dates WHERE calendar_code = 'GLOBAL' AND business_date
    /// BETWEEN $from AND $to ORDER BY 1`
    ReadBusinessDates {
        /// First date.
        from: Date,
        /// Last date.
        to: Date,
    } -> Vec<Date>;

    /// Per (key, epoch) of `$keys`, over the rows of `position_history` that are valid for the
    /// epoch (rows of an epoch e <= `epoch` dated before the `from_date` of every epoch in (e,
    /// `epoch`]): the last dated on or before `$from`, and those dated in `($from, $to]`, in place
    /// order.
    ReadPositions {
        /// Key and epoch.
        keys: Vec<(Key, Epoch)>,
        /// First date.
        from: Date,
        /// Last date.
        to: Date,
    } -> Vec<DatedPosition>;

    /// `DELETE FROM daily_position_snapshots USING unnest($keys) WHERE key = .. AND epoch = .. AND
    /// date BETWEEN $from AND $to`
    DeleteSnapshots {
        /// Key and epoch.
        keys: Vec<(Key, Epoch)>,
        /// First date.
        from: Date,
        /// Last date.
        to: Date,
    } -> ();

    /// `COPY daily_position_snapshots FROM STDIN BINARY`
    CopySnapshots {
        /// Rows in (key, date) order.
        rows: Vec<SnapshotRow>,
    } -> ();

    /// `UPDATE position_state SET valued_through = GREATEST(valued_through, $date), updated_at =
    /// now() WHERE key = ANY($keys)` of locked rows.
    RaiseValuedThrough {
        /// Keys in key order.
        keys: Vec<Key>,
        /// Last date that the job covers.
        date: Date,
    } -> ();

    /// `DELETE FROM portfolio_valuation_jobs WHERE id = $id` of a locked row.
    DeleteValuationJob {
        /// The job.
        id: u64,
    } -> ();

    /// `UPDATE portfolio_valuation_jobs SET status = 'WAITING', keys = $keys, lease_until = NULL,
    /// not_before = now() + $delay WHERE id = $id` of a locked row.
    PostponeValuationJob {
        /// The job.
        id: u64,
        /// The keys that wait.
        keys: Vec<JobKey>,
        /// Back-off in milliseconds.
        delay_ms: u64,
    } -> ();
}

/// A locked key that a scheduler asks about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressQuery {
    /// The key.
    pub key: Key,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its revision.
    pub revision: Revision,
    /// Its watermark.
    pub watermark_date: Date,
}

/// What a scheduler learns about a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The key.
    pub key: Key,
    /// Whether a replay is open.
    pub replay_open: bool,
    /// Whether a valuation job holds the key with this token.
    pub job_open: bool,
    /// Date of the first applied transaction of the timeline.
    pub first_applied: Option<Date>,
    /// The latest business date that this statement sees.
    pub latest_business_date: Option<Date>,
    /// The first business date after the watermark, on or after `first_applied`, that has no
    /// snapshot with this epoch and revision.
    pub first_missing: Option<Date>,
    /// The last business date before `first_missing`, if it is after the watermark.
    pub complete_through: Option<Date>,
    /// Number of business dates without such a snapshot that follow each other from there on.
    pub gap_days: u32,
}

/// Keys and range of a job to be created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewValuationJob {
    /// Keys in key order.
    pub keys: Vec<JobKey>,
    /// First date.
    pub date_from: Date,
    /// Last date.
    pub date_to: Date,
}

/// A position that holds from its place on, see [`ReadPositions`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatedPosition {
    /// The key.
    pub key: Key,
    /// Date of the transaction.
    pub date: Date,
    /// Position after it.
    pub position: Position,
}
