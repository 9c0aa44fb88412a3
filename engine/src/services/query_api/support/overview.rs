//! `GET /support/portfolios/{portfolio_id}/overview`: how a portfolio stands, in counts.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::super::Api;
use super::super::answer::{Answer, Reply};
use super::super::asked::Asked;
use super::super::problem::Problem;
use crate::domain::ids::{Currency, PortfolioId};
use crate::domain::records::ParkReason;
use crate::domain::time::{Date, Timestamp};
use crate::ports::Ports;
use crate::ports::store::statements::ReadPortfolioOverview;

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverviewView {
    /// The portfolio.
    pub portfolio_id: PortfolioId,
    /// Its base currency; none as long as it is not known.
    pub base_currency: Option<Currency>,
    /// Its keys.
    pub keys: u64,
    /// Those that are being reprocessed.
    pub reprocessing_keys: u64,
    /// Since when the one of them has not changed that has waited for longest.
    pub reprocessing_since: Option<Timestamp>,
    /// Histories that are being rebuilt.
    pub open_replays: u64,
    /// Keys in valuation jobs, once for each job.
    pub valuation_jobs: u64,
    /// Those of jobs that wait for named missing data.
    pub waiting_valuation_jobs: u64,
    /// Transactions that cannot be applied, by reason.
    pub parked: Vec<ParkedCount>,
    /// The earliest watermark of its keys.
    pub watermark_date: Option<Date>,
    /// The latest business date.
    pub latest_business_date: Option<Date>,
}

/// Transactions that are parked for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedCount {
    /// The reason.
    pub reason: ParkReason,
    /// How many.
    pub transactions: u64,
}

/// Answers.
pub(in super::super) async fn view<P: Ports>(api: Rc<Api<P>>, asked: Asked) -> Reply {
    let portfolio_id = asked.portfolio_id()?;
    let statement = ReadPortfolioOverview { portfolio_id: portfolio_id.clone() };
    let Some(found) = api.look(statement).await? else {
        return Err(Problem::UnknownPortfolio(portfolio_id.to_string()));
    };
    let count = |(reason, transactions)| ParkedCount { reason, transactions };
    Ok(Answer::found(&OverviewView {
        portfolio_id,
        base_currency: found.base_currency,
        keys: found.keys,
        reprocessing_keys: found.reprocessing,
        reprocessing_since: found.reprocessing_since,
        open_replays: found.replays,
        valuation_jobs: found.jobs,
        waiting_valuation_jobs: found.waiting_jobs,
        parked: found.parked.into_iter().map(count).collect(),
        watermark_date: found.watermark_date,
        latest_business_date: found.latest_business_date,
    }))
}
