//! Time series of positions and portfolios, and what they are made of.

use serde::{Deserialize, Serialize};

use super::super::rows::{CashflowRow, PortfolioSeriesRow, PositionSeriesRow, SnapshotRow};
use crate::domain::ids::{Epoch, Key, PortfolioId, Token};
use crate::domain::money::Amount;
use crate::domain::series::DaySum;
use crate::domain::time::Date;

statements! {
    /// Per (key, epoch, from, to) of `$ranges`, over the rows of `daily_position_snapshots` that
    /// are valid for the epoch (of several of one date the newest): those dated in `[from, to]`,
    /// the last before and the first after it, in date order.
    ReadSnapshots {
        /// Keys with the version to look at and a range of dates; each key once.
        ranges: Vec<(Key, Epoch, Date, Date)>,
    } -> Vec<SnapshotRow>;

    /// Per (key, epoch, after, to) of `$ranges`: the rows of `cashflows` that are valid for the
    /// epoch and dated in `(after, to]` (no `after`: all until then), in place order.
    ReadCashflows {
        /// Keys with the version to look at and a range of dates; each key once.
        ranges: Vec<(Key, Epoch, Option<Date>, Date)>,
    } -> Vec<CashflowRow>;

    /// Those of `$keys` that have a snapshot dated on or after the date that is dated at or below
    /// the watermark or was written under the token, in their order.
    FindValued {
        /// Locked keys, and the first date of each.
        keys: Vec<ValuedQuery>,
    } -> Vec<Key>;

    /// `DELETE FROM position_timeseries USING unnest($ranges) WHERE key = .. AND epoch = .. AND
    /// date BETWEEN from AND to`
    DeletePositionSeries {
        /// Key, epoch, and first and last date.
        ranges: Vec<(Key, Epoch, Date, Date)>,
    } -> ();

    /// `COPY position_timeseries FROM STDIN BINARY`
    CopyPositionSeries {
        /// Rows in (key, date) order.
        rows: Vec<PositionSeriesRow>,
    } -> ();

    /// Per (key, was, is) of `$keys`, `was` < `is`: the earliest date of which a reader of epoch
    /// `is` may see another snapshot than a reader of epoch `was`: of the `from_date` of each epoch
    /// in (was, is], and of each row of `daily_position_snapshots` with such an epoch. In their
    /// order.
    ReadSwitched {
        /// Key, and the epochs that were and are served.
        keys: Vec<(Key, Epoch, Epoch)>,
    } -> Vec<(Key, Date)>;

    /// Per (portfolio, from, to) of `$ranges`: sums over the rows of `position_timeseries` of all
    /// keys of the portfolio, each at those that are valid for its served epoch (of several of one
    /// date the newest), by date and currency, in that order.
    ReadDaySums {
        /// Portfolios, each once, and their ranges of dates.
        ranges: Vec<(PortfolioId, Date, Date)>,
    } -> Vec<DatedSum>;

    /// Per (portfolio, from, to) of `$ranges`: the end of the last row of `portfolio_timeseries`
    /// before `from`, and the first row after `to`. One answer for each range, in their order.
    ReadPortfolioEdges {
        /// Portfolios, each once, and their ranges of dates.
        ranges: Vec<(PortfolioId, Date, Date)>,
    } -> Vec<PortfolioEdges>;

    /// `DELETE FROM portfolio_timeseries USING unnest($ranges) WHERE portfolio_id = .. AND date
    /// BETWEEN from AND to`
    DeletePortfolioSeries {
        /// Portfolio, and first and last date.
        ranges: Vec<(PortfolioId, Date, Date)>,
    } -> ();

    /// `COPY portfolio_timeseries FROM STDIN BINARY`
    CopyPortfolioSeries {
        /// Rows in (portfolio, date) order.
        rows: Vec<PortfolioSeriesRow>,
    } -> ();
}

/// A locked key of which it is asked whether anything is valued from a date on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValuedQuery {
    /// The key.
    pub key: Key,
    /// Its token.
    pub token: Token,
    /// Its watermark.
    pub watermark_date: Date,
    /// The date.
    pub from: Date,
}

/// What positions of a portfolio come to on a date, see [`ReadDaySums`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatedSum {
    /// The portfolio.
    pub portfolio_id: PortfolioId,
    /// The date.
    pub date: Date,
    /// Those in instruments of one currency.
    pub sum: DaySum,
}

/// What a range of a portfolio's rows stands between, see [`ReadPortfolioEdges`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortfolioEdges {
    /// Value at the end of the row before the range.
    pub end_before: Option<Amount>,
    /// The row after the range.
    pub after: Option<PortfolioSeriesRow>,
}
