//! Rows of cash flows and time series.

use serde::{Deserialize, Serialize};

use crate::domain::ids::{Currency, Epoch, Key, PortfolioId, Revision};
use crate::domain::money::Amount;
use crate::domain::records::Cashflow;
use crate::domain::records::{Place, TransactionType};
use crate::domain::records::{PortfolioSeries, PositionSeries};
use crate::domain::time::Date;

/// `cashflows`: the flow of an applied transaction; PK (key, place, epoch), as the history row that
/// it stands beside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CashflowRow {
    /// The key.
    pub key: Key,
    /// Place of the transaction.
    pub place: Place,
    /// Version, as that of the history row.
    pub epoch: Epoch,
    /// Type of the transaction.
    pub kind: TransactionType,
    /// The flow.
    pub cashflow: Cashflow,
}

/// `position_timeseries`: PK (key, date, epoch), as the snapshot that it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionSeriesRow {
    /// The key.
    pub key: Key,
    /// Business date.
    pub date: Date,
    /// Token of the snapshot.
    pub epoch: Epoch,
    /// Token of the snapshot.
    pub revision: Revision,
    /// The instrument's currency.
    pub currency: Currency,
    /// Value at the end of the day in base currency; zero if the snapshot has none.
    pub market_value: Amount,
    /// In the instrument's currency.
    pub series: PositionSeries,
}

/// `portfolio_timeseries`: PK (portfolio, date).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortfolioSeriesRow {
    /// The portfolio.
    pub portfolio_id: PortfolioId,
    /// Business date.
    pub date: Date,
    /// In base currency.
    pub series: PortfolioSeries,
}
