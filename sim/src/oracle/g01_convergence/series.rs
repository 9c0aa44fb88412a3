//! Time series as they must be in the end.

use std::collections::BTreeMap;

use backdate_engine::domain::ids::{Key, PortfolioId};
use backdate_engine::domain::records::{PortfolioSeries, PositionSeries};
use backdate_engine::domain::time::Date;

use super::super::mirror::KeyMirror;
use super::super::model::KeyTables;
use super::super::rule::{End, RuleReport, near, near_option};

/// What is wrong with the series of a key.
pub(super) fn position(
    mirrored: &KeyMirror,
    expected: &BTreeMap<Date, PositionSeries>,
) -> Option<String> {
    let newest = mirrored.newest();
    let wrong = expected.iter().find_map(|(date, must)| {
        let is = mirrored.series_on(*date, newest).map(|row| &row.series);
        let same = is.is_some_and(|is| same_row(must, is));
        (!same).then(|| format!("the series of {date} must be {must:?} and is {is:?}"))
    });
    wrong.or_else(|| {
        let mut dates = mirrored.series.keys().filter(|(date, _)| !expected.contains_key(date));
        let (date, _) = dates.find(|(date, epoch)| mirrored.is_valid(*epoch, *date, newest))?;
        Some(format!("there is a row of its series on {date} and must not be"))
    })
}

/// Whether two rows of a key's series are the same.
pub(in super::super) fn same_row(a: &PositionSeries, b: &PositionSeries) -> bool {
    near(a.bod_market_value, b.bod_market_value)
        && near(a.bod_cashflow_position, b.bod_cashflow_position)
        && near(a.eod_cashflow_position, b.eod_cashflow_position)
        && near(a.bod_cashflow_portfolio, b.bod_cashflow_portfolio)
        && near(a.eod_cashflow_portfolio, b.eod_cashflow_portfolio)
        && near(a.eod_market_value, b.eod_market_value)
        && near(a.fees, b.fees)
        && near(a.quantity, b.quantity)
        && near_option(a.cost, b.cost)
}

/// Compares the series of all portfolios.
pub(super) fn judge_portfolios(
    tables: &BTreeMap<&Key, KeyTables>,
    end: &End<'_>,
    report: &mut RuleReport,
) {
    let inputs = &end.mirror.raw.inputs;
    let stored = &end.mirror.portfolios;
    let mut portfolios: Vec<&PortfolioId> = tables.keys().map(|key| &key.portfolio_id).collect();
    portfolios.extend(stored.keys());
    portfolios.sort_unstable();
    portfolios.dedup();
    for id in portfolios {
        let expected = inputs.portfolio_series(id, tables);
        let nothing = BTreeMap::new();
        let rows = stored.get(id).unwrap_or(&nothing);
        let wrong = expected.iter().find_map(|(date, must)| {
            let is = rows.get(date).map(|row| &row.series);
            let same = is.is_some_and(|is| same_sums(must, is));
            (!same).then(|| format!("the series of {date} must be {must:?} and is {is:?}"))
        });
        let wrong = wrong.or_else(|| {
            let extra = rows.keys().find(|date| !expected.contains_key(date))?;
            Some(format!("there is a row of its series on {extra} and must not be"))
        });
        report.check_end(wrong.is_none(), end, || {
            format!("portfolio {id}: {}", wrong.unwrap_or_default())
        });
    }
}

fn same_sums(a: &PortfolioSeries, b: &PortfolioSeries) -> bool {
    near(a.bod_market_value, b.bod_market_value)
        && near(a.bod_cashflow, b.bod_cashflow)
        && near(a.eod_cashflow, b.eod_cashflow)
        && near(a.eod_market_value, b.eod_market_value)
        && near(a.fees, b.fees)
}
