//! `GET /portfolios/{portfolio_id}/timeseries`: what a portfolio was worth at both ends of each
//! business date, page by page.
//!
//! A page begins after a date. It is the answer of one statement, so beginnings and ends fit each
//! other within it. Rows are sums that are made after the positions: for a moment after a position
//! was replaced they may still be, or only be, without it.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::Api;
use super::answer::{Answer, Reply, ReprocessingStatus};
use super::asked::{Asked, NO_CURSOR, escaped};
use super::problem::Problem;
use crate::domain::ids::{Currency, PortfolioId};
use crate::domain::money::Amount;
use crate::domain::records::PortfolioSeries;
use crate::domain::time::Date;
use crate::ports::Ports;
use crate::ports::store::rows::PortfolioSeriesRow;
use crate::ports::store::statements::ReadPortfolioSeries;

/// A page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesPage {
    /// The portfolio.
    pub portfolio_id: PortfolioId,
    /// Currency of all amounts.
    pub base_currency: Currency,
    /// Whether any of its positions is about to be replaced or to be valued up to the latest date.
    pub reprocessing_status: ReprocessingStatus,
    /// One entry per business date, in their order.
    pub timeseries: Vec<SeriesEntry>,
    /// Address of the next page, if there may be one.
    pub next: Option<String>,
}

/// A business date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesEntry {
    /// The date.
    pub date: Date,
    /// Value at the end of the entry before.
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

impl SeriesEntry {
    fn of(row: PortfolioSeriesRow) -> Self {
        let PortfolioSeries { bod_market_value, bod_cashflow, eod_cashflow, .. } = row.series;
        let PortfolioSeries { eod_market_value, fees, .. } = row.series;
        let date = row.date;
        Self { date, bod_market_value, bod_cashflow, eod_cashflow, eod_market_value, fees }
    }
}

/// Answers.
pub(super) async fn page<P: Ports>(api: Rc<Api<P>>, asked: Asked) -> Reply {
    let portfolio_id = asked.portfolio_id()?;
    let (from, to) = asked.dates()?;
    let limit = asked.limit()?;
    let after = asked.date("after").map_err(|_| NO_CURSOR)?;
    let statement = ReadPortfolioSeries {
        portfolio_id: portfolio_id.clone(),
        from: from.max(after.map(Date::next)),
        to,
        limit,
    };
    let Some(read) = api.look(statement).await? else {
        return Err(Problem::UnknownPortfolio(portfolio_id.to_string()));
    };
    let last = read.rows.last().filter(|_| read.rows.len() == limit as usize);
    let next = last.map(|row| {
        let portfolio = escaped(portfolio_id.as_str());
        let to = to.map(|to| format!("&to={to}")).unwrap_or_default();
        format!("/portfolios/{portfolio}/timeseries?limit={limit}{to}&after={}", row.date)
    });
    Ok(Answer::found(&SeriesPage {
        portfolio_id,
        base_currency: read.base_currency,
        reprocessing_status: read.status.into(),
        timeseries: read.rows.into_iter().map(SeriesEntry::of).collect(),
        next,
    }))
}
