//! Time series of positions and portfolios.
//!
//! # Invariants
//! - A portfolio has a row on each day on which any of its keys has a snapshot.

use std::collections::BTreeMap;

use backdate_engine::domain::ids::{Currency, Key, PortfolioId};
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::{Cashflow, Timing};
use backdate_engine::domain::records::{Place, Position, TransactionType, Values};
use backdate_engine::domain::records::{PortfolioSeries, PositionSeries};
use backdate_engine::domain::time::Date;

use super::inputs::Inputs;
use super::tables::KeyTables;

/// The row of a snapshot; `flows` are those after the snapshot before it up to its day.
pub fn position_row<'f>(
    before: Option<&Values>,
    position: &Position,
    values: Option<&Values>,
    flows: impl Iterator<Item = (TransactionType, &'f Cashflow)> + Clone,
) -> PositionSeries {
    let local = |values: Option<&Values>| values.map_or(Amount::ZERO, |v| v.market_value_local);
    let sum = |wanted: &dyn Fn(TransactionType, &Cashflow) -> bool| -> Amount {
        let amounts = flows.clone().filter(|(kind, flow)| wanted(*kind, flow));
        amounts.map(|(_, flow)| flow.amount).sum()
    };
    PositionSeries {
        bod_market_value: local(before),
        bod_cashflow_position: sum(&|_, f| f.timing == Timing::Bod && f.is_position_flow),
        eod_cashflow_position: sum(&|_, f| f.timing == Timing::Eod && f.is_position_flow),
        bod_cashflow_portfolio: sum(&|_, f| f.timing == Timing::Bod && f.is_portfolio_flow),
        eod_cashflow_portfolio: sum(&|_, f| f.timing == Timing::Eod && f.is_portfolio_flow),
        eod_market_value: local(values),
        fees: -sum(&|kind, _| kind == TransactionType::Fee),
        quantity: position.quantity,
        cost: match position.quantity.is_zero() {
            true => Some(Amount::ZERO),
            false => position.cost_basis_local.per(position.quantity),
        },
    }
}

impl Inputs {
    /// The series of a key, from its tables over all dates.
    pub fn position_series(&self, key: &Key, tables: &KeyTables) -> BTreeMap<Date, PositionSeries> {
        let flows = self.flows(key, &tables.folded);
        let kinds = self.timelines.get(key);
        let kind = |place: &Place| {
            let row = kinds.and_then(|timeline| timeline.get(place));
            row.expect("a flow is of a transaction").transaction.terms.kind
        };
        let mut series = BTreeMap::new();
        let mut before: Option<(Date, Option<Values>)> = None;
        for (day, snapshot) in &tables.snapshots {
            let since = before.map(|(day, _)| day);
            let between = flows.iter().filter(|(place, _)| {
                let booked = place.at.date();
                booked <= *day && since.is_none_or(|since| booked > since)
            });
            let between = between.map(|(place, flow)| (kind(place), flow));
            let values = snapshot.values;
            let last = before.and_then(|(_, values)| values);
            let row = position_row(last.as_ref(), &snapshot.position, values.as_ref(), between);
            series.insert(*day, row);
            before = Some((*day, values));
        }
        series
    }

    /// What an amount is worth in another currency on a day; zero if nobody can tell.
    pub fn worth(&self, amount: Amount, from: &Currency, to: &Currency, day: Date) -> Amount {
        let rate = self.rate(from, to, day);
        rate.and_then(|rate| amount.convert(&rate)).unwrap_or_default()
    }

    /// The series of a portfolio, from the tables of all of its keys over all dates.
    pub fn portfolio_series(
        &self,
        id: &PortfolioId,
        tables: &BTreeMap<&Key, KeyTables>,
    ) -> BTreeMap<Date, PortfolioSeries> {
        let Some(portfolio) = self.portfolios.get(id) else { return BTreeMap::new() };
        let base = &portfolio.portfolio.base_currency;
        let mut days: BTreeMap<Date, PortfolioSeries> = BTreeMap::new();
        // Converted once per currency, so that many small amounts are not rounded one by one.
        let mut flows: BTreeMap<(Date, &Currency), [Amount; 3]> = BTreeMap::new();
        for (key, tables) in tables.iter().filter(|(key, _)| key.portfolio_id == *id) {
            for (day, row) in self.position_series(key, tables) {
                let values = tables.snapshots[&day].values;
                let of_day = days.entry(day).or_default();
                of_day.eod_market_value += values.map(|v| v.market_value).unwrap_or_default();
                let instrument = self.instruments.get(&key.security_id);
                let instrument = instrument.expect("what is valued has its instrument");
                let of_currency = flows.entry((day, &instrument.instrument.currency)).or_default();
                let three = [row.bod_cashflow_portfolio, row.eod_cashflow_portfolio, row.fees];
                of_currency.iter_mut().zip(three).for_each(|(sum, amount)| *sum += amount);
            }
        }
        for ((day, currency), [bod, eod, fees]) in flows {
            let of_day = days.entry(day).or_default();
            of_day.bod_cashflow += self.worth(bod, currency, base, day);
            of_day.eod_cashflow += self.worth(eod, currency, base, day);
            of_day.fees += self.worth(fees, currency, base, day);
        }
        let mut end = Amount::ZERO;
        for row in days.values_mut() {
            row.bod_market_value = end;
            end = row.eod_market_value;
        }
        days
    }
}
