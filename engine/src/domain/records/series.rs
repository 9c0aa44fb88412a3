//! Rows of time series. Data only.

use serde::{Deserialize, Serialize};

use crate::domain::money::Amount;

/// A row of a position's series; flows are as booked, values in the instrument's currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionSeries {
    /// Value of the snapshot before; zero if it has none or there is none.
    pub bod_market_value: Amount,
    /// Flows of the position at the beginning of their day.
    pub bod_cashflow_position: Amount,
    /// Flows of the position at the end of their day.
    pub eod_cashflow_position: Amount,
    /// Flows of the portfolio at the beginning of their day.
    pub bod_cashflow_portfolio: Amount,
    /// Flows of the portfolio at the end of their day.
    pub eod_cashflow_portfolio: Amount,
    /// Value of the snapshot; zero if it has none.
    pub eod_market_value: Amount,
    /// Fees that were booked as transactions of their own, positive.
    pub fees: Amount,
    /// Units.
    pub quantity: Amount,
    /// Local cost of a unit; zero at quantity zero, none where it does not fit.
    pub cost: Option<Amount>,
}

/// A row of a portfolio's series, in base currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortfolioSeries {
    /// Value at the end of the row before; zero for the first.
    pub bod_market_value: Amount,
    /// Flows at the beginning of the day.
    pub bod_cashflow: Amount,
    /// Flows at the end of the day.
    pub eod_cashflow: Amount,
    /// Value of all positions.
    pub eod_market_value: Amount,
    /// Fees, positive.
    pub fees: Amount,
}
