//! Rows of time series.

use backdate_engine::domain::ids::{Currency, Epoch, Key, PortfolioId, Revision};
use backdate_engine::domain::records::{PortfolioSeries, PositionSeries};
use backdate_engine::ports::store::rows::{PortfolioSeriesRow, PositionSeriesRow};

use super::super::cells::{BadCell, Cells};

/// The rest of a row of a key.
pub(super) fn of_position(key: Key, cells: &mut Cells<'_>) -> Result<PositionSeriesRow, BadCell> {
    Ok(PositionSeriesRow {
        key,
        date: cells.date()?,
        epoch: Epoch(cells.number()?),
        revision: Revision(cells.number()?),
        currency: Currency::new(cells.text()?),
        market_value: cells.amount()?,
        series: PositionSeries {
            bod_market_value: cells.amount()?,
            bod_cashflow_position: cells.amount()?,
            eod_cashflow_position: cells.amount()?,
            bod_cashflow_portfolio: cells.amount()?,
            eod_cashflow_portfolio: cells.amount()?,
            eod_market_value: cells.amount()?,
            fees: cells.amount()?,
            quantity: cells.amount()?,
            cost: cells.optional_amount()?,
        },
    })
}

/// A row of a portfolio.
pub(super) fn of_portfolio(cells: &mut Cells<'_>) -> Result<PortfolioSeriesRow, BadCell> {
    Ok(PortfolioSeriesRow {
        portfolio_id: PortfolioId::new(cells.text()?),
        date: cells.date()?,
        series: PortfolioSeries {
            bod_market_value: cells.amount()?,
            bod_cashflow: cells.amount()?,
            eod_cashflow: cells.amount()?,
            eod_market_value: cells.amount()?,
            fees: cells.amount()?,
        },
    })
}
