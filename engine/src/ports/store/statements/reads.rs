//! What is asked from outside: positions and history as readers see them, and what is left to do.

use serde::{Deserialize, Serialize};

use super::super::rows::{CashflowRow, HistoryRow, PortfolioSeriesRow, SnapshotRow};
use crate::domain::ids::{Currency, Epoch, Key, PortfolioId, Revision, SecurityId};
use crate::domain::records::{KeyStatus, Place, Position};
use crate::domain::time::Date;

statements! {
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
    /// place order, at most `$limit` of them after `$after`. None: there is no such key.
    ReadPositionHistory {
        /// The key.
        key: Key,
        /// Place of the last row seen; none: from the first on.
        after: Option<Place>,
        /// Most rows.
        limit: u32,
    } -> Option<HistoryRead>;

    /// The cash flows of a portfolio as readers see them, from one snapshot of the database: rows
    /// valid for the served epoch of their key and dated in `[$from, $to]`, in order of securities
    /// and places, at most `$limit` of them after `$after`. None: there is no such portfolio.
    ReadPortfolioCashflows {
        /// The portfolio.
        portfolio_id: PortfolioId,
        /// Security and place of the last row seen; none: from the first on.
        after: Option<(SecurityId, Place)>,
        /// First date; none: no bound.
        from: Option<Date>,
        /// Last date; none: no bound.
        to: Option<Date>,
        /// Most rows.
        limit: u32,
    } -> Option<CashflowsRead>;

    /// The series of a portfolio, from one snapshot of the database: rows dated in `[$from, $to]`,
    /// in date order, at most `$limit` of them. None: there is no such portfolio.
    ReadPortfolioSeries {
        /// The portfolio.
        portfolio_id: PortfolioId,
        /// First date; none: no bound.
        from: Option<Date>,
        /// Last date; none: no bound.
        to: Option<Date>,
        /// Most rows.
        limit: u32,
    } -> Option<SeriesRead>;

    /// Counts of work that is not done, for `settled`, gauges and reports.
    ReadBacklog {} -> Backlog;
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

/// A part of a key's history as readers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRead {
    /// The version that is shown.
    pub served_epoch: Epoch,
    /// Newest version, complete or not.
    pub epoch: Epoch,
    /// Newest revision.
    pub revision: Revision,
    /// Status.
    pub status: KeyStatus,
    /// Rows, in place order.
    pub rows: Vec<HistoryRow>,
}

/// A part of a portfolio's cash flows as readers see them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CashflowsRead {
    /// The version that is shown of the key of the last row seen.
    pub after_epoch: Option<Epoch>,
    /// Rows, in order.
    pub rows: Vec<CashflowRead>,
}

/// A cash flow, and what is said of its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CashflowRead {
    /// The version that is shown of the key.
    pub served_epoch: Epoch,
    /// Status of the key.
    pub status: KeyStatus,
    /// The row.
    pub row: CashflowRow,
}

/// A part of a portfolio's series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesRead {
    /// Currency of the rows.
    pub base_currency: Currency,
    /// REPROCESSING if any key of the portfolio is, or is not valued up to the latest date.
    pub status: KeyStatus,
    /// Rows, in date order.
    pub rows: Vec<PortfolioSeriesRow>,
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
