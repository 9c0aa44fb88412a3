//! Rows of the engine's tables, as statements exchange them.
//!
//! A table has the reference's name (see [`Table`]); a row type has exactly one table.

mod series;

use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::domain::ids::{Currency, Epoch, Key, PortfolioId, Revision, SecurityId, Token};
use crate::domain::money::Amount;
use crate::domain::records::{
    ExchangeRate, Fate, FoldTerms, Instrument, KeyStatus, MarketPrice, Outcome, Place, Portfolio,
    Position, Terms, Transaction, ValuationStatus, Values,
};
use crate::domain::time::{Date, Timestamp};
use crate::ports::log::Topic;

pub use series::{CashflowRow, PortfolioSeriesRow, PositionSeriesRow};

/// `transactions`: what persistence has stored, one row per identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionRow {
    /// The content.
    pub transaction: Transaction,
    /// Version of the content.
    pub source_version: i64,
    /// Header of the message that brought it.
    pub correlation_id: Option<SmolStr>,
}

/// `market_prices`: one row per (security, date).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceRow {
    /// The content.
    pub price: MarketPrice,
    /// Version of the content.
    pub source_version: i64,
}

/// `fx_rates`: one row per (from, to, date).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateRow {
    /// The content.
    pub rate: ExchangeRate,
    /// Version of the content.
    pub source_version: i64,
}

/// `portfolios`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortfolioRow {
    /// The content.
    pub portfolio: Portfolio,
    /// Version of the content.
    pub source_version: i64,
}

/// `instruments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstrumentRow {
    /// The content.
    pub instrument: Instrument,
    /// Version of the content.
    pub source_version: i64,
}

/// `position_state`: token, watermark, status and running position of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyState {
    /// Identity.
    pub key: Key,
    /// Version of the newest history, complete or not.
    pub epoch: Epoch,
    /// Number of invalidations.
    pub revision: Revision,
    /// Every business date from the first applied transaction to here has a valid snapshot.
    pub watermark_date: Date,
    /// Latest date that any snapshot of the key covers.
    pub valued_through: Option<Date>,
    /// Reprocessing or current.
    pub status: KeyStatus,
    /// The epoch that readers see.
    pub served_epoch: Epoch,
    /// Raised by every change of the key that keeps its token.
    pub input_version: u64,
    /// What the newest history is folded with; none as long as the portfolio is not known.
    pub fold_terms: Option<FoldTerms>,
    /// Position after the last folded transaction (while a replay is open: at its cursor).
    pub position: Position,
    /// Time of the last change.
    pub updated_at: Timestamp,
}

impl KeyState {
    /// The fencing token.
    pub fn token(&self) -> Token {
        Token { epoch: self.epoch, revision: self.revision }
    }
}

/// `position_timeline`: one row per transaction that the calculator has taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineRow {
    /// The key.
    pub key: Key,
    /// The place; `(key, place)` is the primary key, `place.transaction_id` is unique.
    pub place: Place,
    /// The content as taken in.
    pub terms: Terms,
    /// Header of the input message.
    pub correlation_id: Option<SmolStr>,
    /// Result of the last fold; none or outdated beyond the cursor of an open replay.
    pub outcome: Option<Outcome>,
}

impl TimelineRow {
    /// Whether the last fold applied it.
    pub fn is_applied(&self) -> bool {
        matches!(self.outcome, Some(Outcome { fate: Fate::Applied(_), .. }))
    }
}

/// `position_history`: the position after an applied transaction; PK (key, place, epoch).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// The key.
    pub key: Key,
    /// Place of the transaction.
    pub place: Place,
    /// Version.
    pub epoch: Epoch,
    /// Position after it.
    pub position: Position,
}

/// `position_lots`: open lots at the last folded place; PK (key, opened).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LotRow {
    /// The key.
    pub key: Key,
    /// The lot.
    pub lot: crate::domain::records::Lot,
}

/// `position_epochs`: from which date on the rows of older epochs are invalid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRow {
    /// The key.
    pub key: Key,
    /// The version.
    pub epoch: Epoch,
    /// Its first rebuilt date.
    pub from_date: Date,
}

/// `replays`: an open rebuild of a key's history; at most one per key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayRow {
    /// The key.
    pub key: Key,
    /// The version that it builds.
    pub epoch: Epoch,
    /// First date whose rows are rebuilt.
    pub from_date: Date,
    /// Last place folded; places before `from_date` are folded from their stored results.
    pub cursor: Option<Place>,
}

impl ReplayRow {
    /// The last place replayed, as the cases of an arriving transaction compare it.
    pub fn replayed_to(&self) -> Place {
        let start = Place::start_of(self.from_date);
        match &self.cursor {
            Some(cursor) if *cursor > start => cursor.clone(),
            _ => start,
        }
    }
}

/// `daily_position_snapshots`: PK (key, date, epoch).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRow {
    /// The key.
    pub key: Key,
    /// Business date.
    pub date: Date,
    /// Token under which it was written.
    pub epoch: Epoch,
    /// Token under which it was written.
    pub revision: Revision,
    /// Position after the last applied transaction on or before the date.
    pub position: Position,
    /// The price as quoted.
    pub market_price: Option<Amount>,
    /// Values, all there or all absent.
    pub values: Option<Values>,
    /// How it came to its values.
    pub valuation_status: ValuationStatus,
}

/// What news is about; orders triggers and jobs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// A price of the security, or (dated [`Date::FIRST`]) its changed currency.
    Security(SecurityId),
    /// A rate of the pair.
    Pair(Currency, Currency),
    /// A business date before the latest one: all keys.
    Calendar,
    /// A new or changed portfolio.
    Portfolio(PortfolioId),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Security(id) => write!(f, "security {id}"),
            Subject::Pair(from, to) => write!(f, "rate {from}/{to}"),
            Subject::Calendar => f.write_str("calendar"),
            Subject::Portfolio(id) => write!(f, "portfolio {id}"),
        }
    }
}

/// `instrument_reprocessing_state` (securities) and its likes: the earliest date that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerRow {
    /// What changed; primary key.
    pub subject: Subject,
    /// The earliest date written since the trigger was last handed on.
    pub earliest_date: Date,
}

/// `reprocessing_jobs`: the fan-out of one trigger, with its durable cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReprocessingJobRow {
    /// From a sequence.
    pub id: u64,
    /// What changed.
    pub subject: Subject,
    /// From which date on.
    pub date: Date,
    /// Last key visited.
    pub cursor: Option<Key>,
}

crate::domain::records::named!(
    /// State of a valuation job.
    JobStatus {
        /// To be claimed once `not_before` has passed.
        Pending = "PENDING",
        /// Claimed until `lease_until`.
        Processing = "PROCESSING",
        /// Named data is missing; retried once `not_before` has passed.
        Waiting = "WAITING",
    }
);

/// A key of a valuation job with the token that the job was made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobKey {
    /// The key.
    pub key: Key,
    /// The token.
    pub token: Token,
}

/// `portfolio_valuation_jobs`: keys to value over a range of dates. A finished job has no row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValuationJobRow {
    /// From a sequence.
    pub id: u64,
    /// Keys in key order, each at most once.
    pub keys: Vec<JobKey>,
    /// First date of the range.
    pub date_from: Date,
    /// Last date of the range.
    pub date_to: Date,
    /// State.
    pub status: JobStatus,
    /// Number of claims so far.
    pub attempts: u32,
    /// End of the current claim.
    pub lease_until: Option<Timestamp>,
    /// Not claimed before.
    pub not_before: Timestamp,
}

/// `outbox_events`: a message that is published after the transaction that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxRow {
    /// From a sequence: ids do not commit in order.
    pub id: u64,
    /// Events of one lane are published in the order of their ids, one dispatcher at a time.
    pub lane: u32,
    /// Topic.
    pub topic: Topic,
    /// Message key.
    pub key: SmolStr,
    /// JSON payload.
    pub payload: String,
    /// Header that travels through.
    pub correlation_id: Option<SmolStr>,
}

/// Names of the tables, for recordings, exports and operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Table {
    /// `transactions`
    Transactions,
    /// `market_prices`
    MarketPrices,
    /// `fx_rates`
    FxRates,
    /// `portfolios`
    Portfolios,
    /// `instruments`
    Instruments,
    /// `business_dates`
    BusinessDates,
    /// `position_state`
    PositionState,
    /// `position_timeline`
    PositionTimeline,
    /// `position_history`
    PositionHistory,
    /// `position_lots`
    PositionLots,
    /// `position_epochs`
    PositionEpochs,
    /// `replays`
    Replays,
    /// `daily_position_snapshots`
    DailyPositionSnapshots,
    /// `instrument_reprocessing_state`
    InstrumentReprocessingState,
    /// `reprocessing_jobs`
    ReprocessingJobs,
    /// `portfolio_valuation_jobs`
    PortfolioValuationJobs,
    /// `outbox_events`
    OutboxEvents,
    /// `cashflows`
    Cashflows,
    /// `position_timeseries`
    PositionTimeseries,
    /// `portfolio_timeseries`
    PortfolioTimeseries,
}
