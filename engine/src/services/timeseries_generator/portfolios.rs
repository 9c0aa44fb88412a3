//! The second stage: rows of portfolios, summed up over the positions that readers see.
//!
//! Each position counts in the version that is served of its key, so a key that is being rebuilt is
//! in the sum as it was before, whole. The portfolio's row is locked, no key is: whatever changes
//! after the sum was read sends news, which waits for the lock and reads again.
//!
//! # Invariants
//! - After every transaction the beginning of each row is the end of the row before it.

use std::collections::{BTreeMap, BTreeSet};

use super::super::ServiceError;
use super::super::instance::{Instance, Session};
use super::plan::Batch;
use crate::domain::fx::FxTable;
use crate::domain::ids::{Currency, PortfolioId};
use crate::domain::series::portfolio_series;
use crate::domain::time::Date;
use crate::ports::Ports;
use crate::ports::store::rows::PortfolioSeriesRow;
use crate::ports::store::statements::{
    CopyPortfolioSeries, DatedSum, DeletePortfolioSeries, LockPortfolios, PortfolioEdges,
    ReadDaySums, ReadPortfolioEdges, ReadRates,
};

type Bases = BTreeMap<PortfolioId, Currency>;

/// Writes the rows of a batch, which has each portfolio once, in one transaction.
pub(super) async fn sum_up<P: Ports>(
    instance: &Instance<P>,
    batch: Batch<PortfolioId>,
) -> Result<(), ServiceError> {
    let mut session = instance.begin().await?;
    let ids = batch.iter().map(|(id, ..)| id.clone()).collect();
    let locked = session.run(LockPortfolios { ids }).await?;
    let bases: Bases = locked
        .into_iter()
        .map(|row| (row.portfolio.portfolio_id, row.portfolio.base_currency))
        .collect();
    // Of a portfolio that is not known nothing is valued.
    let ranges: Batch<PortfolioId> =
        batch.into_iter().filter(|(id, ..)| bases.contains_key(id)).collect();
    if ranges.is_empty() {
        session.rollback().await;
        return Ok(());
    }
    let sums = session.run(ReadDaySums { ranges: ranges.clone() }).await?;
    let edges = session.run(ReadPortfolioEdges { ranges: ranges.clone() }).await?;
    let fx = read_rates(&mut session, &sums, &bases).await?;
    let (gone, rows) = rows(&ranges, &sums, &edges, &bases, &fx);
    session.run(DeletePortfolioSeries { ranges: gone }).await?;
    if !rows.is_empty() {
        session.run(CopyPortfolioSeries { rows }).await?;
    }
    Ok(session.commit().await?)
}

/// Rates instrument currency -> base, where there is anything to convert.
async fn read_rates<P: Ports>(
    session: &mut Session<'_, P>,
    sums: &[DatedSum],
    bases: &Bases,
) -> Result<FxTable, ServiceError> {
    let mut pairs = BTreeSet::new();
    let mut dates: Option<(Date, Date)> = None;
    for dated in sums.iter().filter(|dated| dated.sum.has_flows()) {
        let needed = FxTable::pairs(&dated.sum.currency, &bases[&dated.portfolio_id]);
        if !needed.is_empty() {
            let (from, to) = dates.unwrap_or((dated.date, dated.date));
            dates = Some((from.min(dated.date), to.max(dated.date)));
            pairs.extend(needed);
        }
    }
    let Some((from, to)) = dates else {
        return Ok(FxTable::default());
    };
    let rows = session.run(ReadRates { pairs: pairs.into_iter().collect(), from, to }).await?;
    Ok(FxTable::new(rows.into_iter().map(|row| row.rate)))
}

/// Ranges of rows that go, and the rows that come, in order of portfolios and dates.
fn rows(
    ranges: &Batch<PortfolioId>,
    sums: &[DatedSum],
    edges: &[PortfolioEdges],
    bases: &Bases,
    fx: &FxTable,
) -> (Batch<PortfolioId>, Vec<PortfolioSeriesRow>) {
    let (mut gone, mut rows) = (Vec::new(), Vec::new());
    let mut by_portfolio: BTreeMap<&PortfolioId, Vec<&DatedSum>> = BTreeMap::new();
    for dated in sums {
        by_portfolio.entry(&dated.portfolio_id).or_default().push(dated);
    }
    for ((id, from, to), edges) in ranges.iter().zip(edges) {
        gone.push((id.clone(), *from, *to));
        let mut end = edges.end_before.unwrap_or_default();
        let days = by_portfolio.get(id).map_or(&[][..], Vec::as_slice);
        for day in days.chunk_by(|a, b| a.date == b.date) {
            let date = day[0].date;
            let of_day = day.iter().map(|dated| &dated.sum);
            let series = portfolio_series(date, end, of_day, &bases[id], fx);
            end = series.eod_market_value;
            rows.push(PortfolioSeriesRow { portfolio_id: id.clone(), date, series });
        }
        if let Some(mut after) = edges.after.clone().filter(|a| a.series.bod_market_value != end) {
            after.series.bod_market_value = end;
            gone.push((id.clone(), after.date, after.date));
            rows.push(after);
        }
    }
    (gone, rows)
}
