//! The statements of the engine, each with the SQL that it stands for.
//!
//! `$name` is a field of the statement. A statement that locks states its order; where the SQL says
//! `FOR NO KEY UPDATE` the rows it returns are the newest versions of the locked rows, while
//! everything else that it reads is as of its start. `key` is short for `(portfolio_id,
//! security_id)`; sets are given as `unnest($rows)`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::rows::{
    EpochRow, HistoryRow, InstrumentRow, JobKey, KeyState, LotRow, OutboxRow, PortfolioRow,
    PriceRow, RateRow, ReplayRow, ReprocessingJobRow, SnapshotRow, Subject, TimelineRow,
    TransactionRow, TriggerRow, ValuationJobRow,
};
use crate::domain::ids::{Currency, Epoch, Key, PortfolioId, Revision, SecurityId, TransactionId};
use crate::domain::money::FxRate;
use crate::domain::records::{BusinessDate, KeyStatus, Place, Position};
use crate::domain::time::Date;

/// One SQL statement with its parameters.
pub trait Statement: Serialize + DeserializeOwned + Into<AnyStatement> + Clone + 'static {
    /// What it answers.
    type Output: Serialize + DeserializeOwned + 'static;
    /// Name, in crash points and measurements.
    const NAME: &'static str;
}

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $ty:ty),* $(,)? } -> $out:ty;)+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
            pub struct $name { $($(#[$fdoc])* pub $field: $ty),* }

            impl Statement for $name {
                type Output = $out;
                const NAME: &'static str = stringify!($name);
            }

            impl From<$name> for AnyStatement {
                fn from(statement: $name) -> Self {
                    AnyStatement::$name(statement)
                }
            }
        )+

        /// Any statement, as it travels to a simulated server.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum AnyStatement {
            $(#[doc = stringify!($name)] $name($name)),+
        }

        impl AnyStatement {
            /// [`Statement::NAME`] of all statements.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            /// [`Statement::NAME`].
            pub fn name(&self) -> &'static str {
                match self { $(AnyStatement::$name(_) => stringify!($name)),+ }
            }
        }

        /// Calls `$callback! { Name, Name, ... }` with the names of all statements: what an
        /// implementation generates its dispatch from.
        #[macro_export]
        macro_rules! for_each_statement {
            ($callback:path) => { $callback! { $($name),+ } };
        }
    };
}

statements! {
    // ---- persistence -------------------------------------------------------------------------

    /// `SELECT * FROM transactions WHERE transaction_id = ANY($ids) ORDER BY transaction_id
    /// COLLATE "C" FOR UPDATE`
    LockTransactions {
        /// Identities.
        ids: Vec<TransactionId>,
    } -> Vec<TransactionRow>;

    /// `INSERT INTO transactions .. SELECT .. FROM unnest($rows) ORDER BY transaction_id ON CONFLICT
    /// DO NOTHING RETURNING transaction_id`; rows in id order. Waits for another inserter of an id.
    InsertTransactions {
        /// New rows, in id order.
        rows: Vec<TransactionRow>,
    } -> Vec<TransactionId>;

    /// `UPDATE transactions SET .. FROM unnest($rows) WHERE transaction_id = ..` of locked rows.
    UpdateTransactions {
        /// Whole rows.
        rows: Vec<TransactionRow>,
    } -> ();

    /// `INSERT INTO position_state SELECT key, .. LEAST(date - 1, (SELECT max(business_date) FROM
    /// business_dates WHERE calendar_code = 'GLOBAL')) .. FROM unnest($keys) ORDER BY key ON CONFLICT
    /// DO NOTHING`: epoch 0, revision 0, served epoch 0, input_version 0, CURRENT, nothing valued,
    /// position zero, no fold terms. (`LEAST` ignores a null.)
    InsertKeys {
        /// Key and date of its first stored transaction, in key order.
        keys: Vec<(Key, Date)>,
    } -> ();

    /// `SELECT * FROM market_prices WHERE (security_id, price_date) = ANY($ids) ORDER BY 1, 2 FOR
    /// UPDATE`
    LockPrices {
        /// Identities.
        ids: Vec<(SecurityId, Date)>,
    } -> Vec<PriceRow>;

    /// `INSERT INTO market_prices .. FROM unnest($rows) ORDER BY 1, 2 ON CONFLICT (security_id,
    /// price_date) DO UPDATE SET .. WHERE market_prices.source_version <= excluded.source_version`
    UpsertPrices {
        /// Rows in identity order.
        rows: Vec<PriceRow>,
    } -> ();

    /// `SELECT * FROM fx_rates WHERE (from_currency, to_currency, rate_date) = ANY($ids) ORDER BY 1,
    /// 2, 3 FOR UPDATE`
    LockRates {
        /// Identities.
        ids: Vec<(Currency, Currency, Date)>,
    } -> Vec<RateRow>;

    /// As [`UpsertPrices`], for `fx_rates`.
    UpsertRates {
        /// Rows in identity order.
        rows: Vec<RateRow>,
    } -> ();

    /// `SELECT * FROM portfolios WHERE portfolio_id = ANY($ids) ORDER BY 1 FOR UPDATE`
    LockPortfolios {
        /// Identities.
        ids: Vec<PortfolioId>,
    } -> Vec<PortfolioRow>;

    /// As [`UpsertPrices`], for `portfolios`.
    UpsertPortfolios {
        /// Rows in identity order.
        rows: Vec<PortfolioRow>,
    } -> ();

    /// `SELECT * FROM instruments WHERE security_id = ANY($ids) ORDER BY 1 FOR UPDATE`
    LockInstruments {
        /// Identities.
        ids: Vec<SecurityId>,
    } -> Vec<InstrumentRow>;

    /// As [`UpsertPrices`], for `instruments`.
    UpsertInstruments {
        /// Rows in identity order.
        rows: Vec<InstrumentRow>,
    } -> ();

    /// `INSERT INTO calendars VALUES ($code) ON CONFLICT DO NOTHING; SELECT 1 FROM calendars WHERE
    /// calendar_code = $code FOR UPDATE`: one writer of a calendar at a time.
    LockCalendar {
        /// The calendar.
        code: smol_str::SmolStr,
    } -> ();

    /// `INSERT INTO business_dates .. FROM unnest($rows) ORDER BY 1, 2 ON CONFLICT DO NOTHING
    /// RETURNING *`
    InsertBusinessDates {
        /// Rows in identity order.
        rows: Vec<BusinessDate>,
    } -> Vec<BusinessDate>;

    /// `INSERT INTO outbox_events (id, lane, ..) SELECT nextval('outbox_id'), .. FROM unnest($rows)`;
    /// the `id` of a row is ignored. Rows get ids in their order.
    AppendOutbox {
        /// Events in the order in which they are to be published.
        rows: Vec<OutboxRow>,
    } -> ();

    // ---- triggers and the fan-out --------------------------------------------------------------

    /// `SELECT max(business_date) FROM business_dates WHERE calendar_code = 'GLOBAL'`
    ReadLatestBusinessDate {} -> Option<Date>;

    /// `INSERT INTO <trigger tables> .. FROM unnest($rows) ORDER BY subject ON CONFLICT (subject) DO
    /// UPDATE SET earliest_date = LEAST(earliest_date, excluded.earliest_date)`
    UpsertTriggers {
        /// Rows in subject order, each subject once.
        rows: Vec<TriggerRow>,
    } -> ();

    /// `SELECT * FROM <trigger tables> ORDER BY subject LIMIT $limit FOR UPDATE SKIP LOCKED`
    TakeTriggers {
        /// At most so many.
        limit: u32,
    } -> Vec<TriggerRow>;

    /// `DELETE FROM <trigger tables> WHERE subject = ANY($subjects)` of locked rows.
    DeleteTriggers {
        /// Subjects that were taken.
        subjects: Vec<Subject>,
    } -> ();

    /// `INSERT INTO reprocessing_jobs (id, ..) SELECT nextval('job_id'), .. FROM unnest($jobs)`
    InsertReprocessingJobs {
        /// What changed and from which date on.
        jobs: Vec<(Subject, Date)>,
    } -> ();

    /// `SELECT * FROM reprocessing_jobs ORDER BY visited, id LIMIT 1 FOR UPDATE SKIP LOCKED`:
    /// `visited` counts the batches of a job, so that a small job is not held up by a large one.
    TakeReprocessingJob {} -> Option<ReprocessingJobRow>;

    /// `SELECT key FROM position_state WHERE key > $after AND <uses the subject> ORDER BY key LIMIT
    /// $limit`.
    ///
    /// A key uses a security that is its own, the calendar always, a portfolio that is its own. It
    /// uses a pair `{a, b}` (either order) if a look-up that it needs consults it: needed look-ups
    /// are `trade_currency -> base` of every row of `transactions` of the key, `price currency ->
    /// instrument currency` of every row of `market_prices` of its security, and `instrument
    /// currency -> base`; a look-up `x -> y` with x <> y consults `{x, y}`, `{x, EUR}` and `{y,
    /// EUR}`. Base is that of `portfolios`, falling back on the key's fold terms; without either, or
    /// without the instrument, the look-ups that need it are skipped.
    ScanKeys {
        /// What changed.
        subject: Subject,
        /// Keys after this one; none: from the first.
        after: Option<Key>,
        /// At most so many.
        limit: u32,
    } -> Vec<Key>;

    /// `UPDATE reprocessing_jobs SET cursor = $cursor, visited = visited + 1 WHERE id = $id` of a
    /// locked row.
    MoveReprocessingJob {
        /// The job.
        id: u64,
        /// Last key visited.
        cursor: Key,
    } -> ();

    /// `DELETE FROM reprocessing_jobs WHERE id = $id` of a locked row.
    DeleteReprocessingJob {
        /// The job.
        id: u64,
    } -> ();

    // ---- keys ------------------------------------------------------------------------------------

    /// `SELECT * FROM position_state WHERE key = ANY($keys) ORDER BY key FOR NO KEY UPDATE [SKIP
    /// LOCKED]`: the fence. Whatever is decided or written for a key comes after it.
    LockKeys {
        /// Keys in key order.
        keys: Vec<Key>,
        /// Leave out keys that somebody else holds.
        skip_locked: bool,
    } -> Vec<KeyState>;

    /// `UPDATE position_state SET <all columns but key>, updated_at = now() FROM unnest($rows) WHERE
    /// key = ..` of rows that this transaction has locked.
    UpdateKeys {
        /// Whole rows in key order; `updated_at` is ignored.
        rows: Vec<KeyState>,
    } -> ();

    // ---- timeline, history, lots, replays ------------------------------------------------------------

    /// `SELECT * FROM transactions WHERE transaction_id = ANY($ids) ORDER BY transaction_id`, no
    /// lock.
    ReadTransactions {
        /// Identities.
        ids: Vec<TransactionId>,
    } -> Vec<TransactionRow>;

    /// `SELECT * FROM portfolios WHERE portfolio_id = ANY($ids) ORDER BY 1`, no lock.
    ReadPortfolios {
        /// Identities.
        ids: Vec<PortfolioId>,
    } -> Vec<PortfolioRow>;

    /// `SELECT * FROM instruments WHERE security_id = ANY($ids) ORDER BY 1`, no lock.
    ReadInstruments {
        /// Identities.
        ids: Vec<SecurityId>,
    } -> Vec<InstrumentRow>;

    /// `SELECT * FROM position_timeline WHERE (key, transaction_id) = ANY($ids)`: entries by
    /// identity, wherever they are.
    ReadTimelineEntries {
        /// Key and transaction.
        ids: Vec<(Key, TransactionId)>,
    } -> Vec<TimelineRow>;

    /// Per key of `$keys`: `SELECT * FROM position_timeline WHERE key = .. ORDER BY place DESC LIMIT
    /// 1`.
    ReadTimelineTails {
        /// Keys.
        keys: Vec<Key>,
    } -> Vec<TimelineRow>;

    /// Per key of `$keys`: `SELECT * FROM position_timeline WHERE key = .. ORDER BY place LIMIT 1`.
    ReadTimelineHeads {
        /// Keys.
        keys: Vec<Key>,
    } -> Vec<TimelineRow>;

    /// Per (key, after) of `$ranges`: `SELECT * FROM position_timeline WHERE key = .. AND place >
    /// $after ORDER BY place LIMIT $limit` (no `after`: from the first).
    ReadTimelineChunks {
        /// Key and the place before the chunk.
        ranges: Vec<(Key, Option<Place>)>,
        /// At most so many rows per key.
        limit: u32,
    } -> Vec<TimelineRow>;

    /// Per (key, from) of `$keys`: `SELECT place, trade_currency, outcome FROM position_timeline
    /// WHERE key = .. AND place >= start of $from AND outcome IS NOT NULL ORDER BY place`: the rates
    /// that transactions were folded with.
    ReadTimelineRates {
        /// Key and first date.
        keys: Vec<(Key, Date)>,
    } -> Vec<TimelineRate>;

    /// `DELETE FROM position_timeline WHERE (key, place) = ANY($places)`
    DeleteTimeline {
        /// Key and place.
        places: Vec<(Key, Place)>,
    } -> ();

    /// `INSERT INTO position_timeline .. ON CONFLICT (key, place) DO UPDATE SET ..`
    UpsertTimeline {
        /// Rows in (key, place) order.
        rows: Vec<TimelineRow>,
    } -> ();

    /// `INSERT INTO position_history ..`; PK (key, place, epoch).
    InsertHistory {
        /// Rows in (key, place) order.
        rows: Vec<HistoryRow>,
    } -> ();

    /// `DELETE FROM position_history USING unnest($ranges) WHERE key = .. AND epoch = .. AND date >=
    /// from_date`: a rewind.
    DeleteHistory {
        /// Key, epoch and first date.
        ranges: Vec<(Key, Epoch, Date)>,
    } -> ();

    /// Deletes the rows of `position_history` and `daily_position_snapshots` that are not valid any
    /// more once `epoch` is the served one: rows of an epoch e < `epoch` dated on or after the
    /// `from_date` of an epoch in (e, `epoch`] (by `position_epochs`). One statement per table in
    /// SQL; rows of epochs above `epoch` stay.
    PruneEpochs {
        /// Key and its served epoch.
        keys: Vec<(Key, Epoch)>,
    } -> ();

    /// `SELECT * FROM position_lots WHERE key = ANY($keys) ORDER BY key, opened`
    ReadLots {
        /// Keys.
        keys: Vec<Key>,
    } -> Vec<LotRow>;

    /// `DELETE FROM position_lots WHERE (key, opened) = ANY($lots)`
    DeleteLots {
        /// Key and opening place.
        lots: Vec<(Key, Place)>,
    } -> ();

    /// `DELETE FROM position_lots WHERE key = ANY($keys)`: a fold starts anew.
    ResetLots {
        /// Keys.
        keys: Vec<Key>,
    } -> ();

    /// `INSERT INTO position_lots .. ON CONFLICT (key, opened) DO UPDATE SET ..`
    UpsertLots {
        /// Rows in (key, opened) order.
        rows: Vec<LotRow>,
    } -> ();

    /// `INSERT INTO position_epochs .. ON CONFLICT (key, epoch) DO UPDATE SET from_date =
    /// LEAST(from_date, excluded.from_date)`
    UpsertEpochs {
        /// Rows.
        rows: Vec<EpochRow>,
    } -> ();

    /// `SELECT * FROM replays WHERE key = ANY($keys) ORDER BY key`
    ReadReplays {
        /// Keys.
        keys: Vec<Key>,
    } -> Vec<ReplayRow>;

    /// `SELECT key FROM replays WHERE key > $after ORDER BY key LIMIT $limit`, no lock.
    FindReplays {
        /// Keys after this one; none: from the first.
        after: Option<Key>,
        /// At most so many.
        limit: u32,
    } -> Vec<Key>;

    /// `INSERT INTO replays .. ON CONFLICT (key) DO UPDATE SET epoch, from_date, cursor`
    UpsertReplays {
        /// Rows.
        rows: Vec<ReplayRow>,
    } -> ();

    /// `DELETE FROM replays WHERE key = ANY($keys)`
    DeleteReplays {
        /// Keys.
        keys: Vec<Key>,
    } -> ();

    // ---- rates and prices ----------------------------------------------------------------------------

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

    /// Per security of `$securities`: rows of `market_prices` dated in `($from, $to]` plus the latest
    /// dated on or before `$from`, in date order.
    ReadPrices {
        /// Securities.
        securities: Vec<SecurityId>,
        /// The latest price on or before this date opens the series.
        from: Date,
        /// Last date.
        to: Date,
    } -> Vec<PriceRow>;

    // ---- valuation -------------------------------------------------------------------------------------

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

    /// `WITH c AS MATERIALIZED (SELECT id FROM portfolio_valuation_jobs WHERE (status IN ('PENDING',
    /// 'WAITING') AND not_before <= now()) OR (status = 'PROCESSING' AND lease_until < now()) ORDER
    /// BY id LIMIT $limit FOR UPDATE SKIP LOCKED) UPDATE .. SET status = 'PROCESSING', attempts =
    /// attempts + 1, lease_until = now() + $lease RETURNING *`, in id order. `$limit` is lowered to
    /// `$in_flight_max` minus the jobs that are PROCESSING under a live lease.
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

    /// Per (key, epoch) of `$keys`, over the rows of `position_history` that are valid for the epoch
    /// (rows of an epoch e <= `epoch` dated before the `from_date` of every epoch in (e, `epoch`]):
    /// the last dated on or before `$from`, and those dated in `($from, $to]`, in place order.
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

    // ---- outbox ------------------------------------------------------------------------------------------

    /// `SELECT lane FROM outbox_lanes l WHERE EXISTS (SELECT FROM outbox_events e WHERE e.lane =
    /// l.lane) ORDER BY served LIMIT 1 FOR UPDATE SKIP LOCKED`, with `served` set to a fresh number
    /// of a sequence: the lane that has waited longest. A lane exists from its first event.
    TakeOutboxLane {} -> Option<u32>;

    /// `SELECT * FROM outbox_events WHERE lane = $lane ORDER BY id LIMIT $limit`
    ReadOutbox {
        /// The locked lane.
        lane: u32,
        /// At most so many.
        limit: u32,
    } -> Vec<OutboxRow>;

    /// `DELETE FROM outbox_events WHERE id = ANY($ids)`
    DeleteOutbox {
        /// What was published.
        ids: Vec<u64>,
    } -> ();

    // ---- reads (query-api) ---------------------------------------------------------------------------------

    /// The positions of a portfolio as readers see them, from one snapshot of the database: per key
    /// the served epoch, its status, the latest snapshot that is valid for the served epoch (dated
    /// on or before `$as_of`), and the last history row valid for it (dated on or before `$as_of`).
    /// Keys without a history row are left out. In key order.
    ReadPortfolioPositions {
        /// The portfolio.
        portfolio_id: PortfolioId,
        /// Latest date; none: no bound.
        as_of: Option<Date>,
    } -> Vec<PositionRead>;

    /// The history of a key, from one snapshot of the database: rows valid for the served epoch, in
    /// place order.
    ReadPositionHistory {
        /// The key.
        key: Key,
    } -> Vec<HistoryRow>;

    /// Counts of work that is not done, for `settled`, gauges and reports.
    ReadBacklog {} -> Backlog;
}

/// A transaction's rate as folded, see [`ReadTimelineRates`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineRate {
    /// The key.
    pub key: Key,
    /// The place.
    pub place: Place,
    /// Trade currency.
    pub trade_currency: Currency,
    /// The rate that it was folded with; none if there was none.
    pub fx: Option<FxRate>,
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

/// A position as readers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionRead {
    /// The key.
    pub key: Key,
    /// The version that is shown.
    pub served_epoch: Epoch,
    /// Newest version, complete or not.
    pub epoch: Epoch,
    /// Newest revision.
    pub revision: Revision,
    /// Status.
    pub status: KeyStatus,
    /// Watermark.
    pub watermark_date: Date,
    /// Latest valid snapshot.
    pub snapshot: Option<SnapshotRow>,
    /// Position after the last applied transaction.
    pub position: Position,
    /// Date of that transaction.
    pub position_date: Date,
}

/// Work that is not done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// Rows of `outbox_events`.
    pub outbox_events: u64,
    /// Triggers.
    pub triggers: u64,
    /// Rows of `reprocessing_jobs`.
    pub reprocessing_jobs: u64,
    /// Open replays.
    pub replays: u64,
    /// Valuation jobs that are not waiting for named missing data.
    pub valuation_jobs: u64,
    /// Valuation jobs that wait for named missing data.
    pub waiting_jobs: u64,
    /// Keys that are REPROCESSING or whose watermark is not the latest business date, without those
    /// of waiting jobs.
    pub keys_behind: u64,
    /// Keys of waiting jobs.
    pub keys_waiting: u64,
}
