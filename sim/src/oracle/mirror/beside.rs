//! What follows from history and snapshots: cash flows and series.

use std::collections::BTreeMap;
use std::rc::Rc;

use backdate_engine::domain::time::Date;
use backdate_engine::ports::store::rows::{CashflowRow, PortfolioSeriesRow, PositionSeriesRow};
use backdate_reports::recording::Event;

use super::{KeyIndex, Mirror, Step};

/// Rows of a portfolio's series.
pub(crate) type PortfolioRows = BTreeMap<Date, Rc<PortfolioSeriesRow>>;

impl Mirror {
    pub(super) fn cashflow(
        &mut self,
        event: &Event,
        row: &Rc<CashflowRow>,
        deleted: bool,
        step: &mut Step,
    ) -> KeyIndex {
        let number = self.number(&row.key);
        let due = self.keys[number].next_snapshot(row.place.date());
        let touch = self.touch(event, &row.key, step);
        touch.cashflows = true;
        touch.series_due.extend(due);
        step.progress = true;
        self.keys[number].set_cashflow(row, deleted);
        number
    }

    pub(super) fn position_series(
        &mut self,
        event: &Event,
        row: &Rc<PositionSeriesRow>,
        deleted: bool,
        step: &mut Step,
    ) -> KeyIndex {
        let touch = self.touch(event, &row.key, step);
        touch.series.push(row.date);
        touch.series_due.push(row.date);
        let number = touch.key;
        step.progress = true;
        self.keys[number].set_series(row, deleted);
        number
    }

    pub(super) fn portfolio_series(
        &mut self,
        row: &Rc<PortfolioSeriesRow>,
        deleted: bool,
        step: &mut Step,
    ) {
        step.progress = true;
        let rows = self.portfolios.entry(row.portfolio_id.clone()).or_default();
        match deleted {
            true => drop(rows.remove(&row.date)),
            false => drop(rows.insert(row.date, Rc::clone(row))),
        }
        step.sums.push((row.portfolio_id.clone(), row.date));
    }
}
