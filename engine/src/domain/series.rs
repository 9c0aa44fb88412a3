//! Time series: what a position and a portfolio were worth at both ends of a day, and what moved
//! between them.
//!
//! A row of a position's series spans the days from its snapshot back to the one before, so flows
//! of days without a snapshot are in the row of the next one. A portfolio's row is a sum over rows
//! of that day, in base currency.
//!
//! # Invariants
//! - The beginning of a row is the end of the row before it.
//! - Sums of stored numbers are exact: they are not rounded, and never wrap.

use serde::{Deserialize, Serialize};

use super::fx::FxTable;
use super::ids::Currency;
use super::money::Amount;
use super::records::{
    Cashflow, PortfolioSeries, Position, PositionSeries, Timing, TransactionType,
};
use super::time::Date;

/// The row of a snapshot, given the local values of it and of the one before, and the flows between
/// the two.
pub fn position_series<'f>(
    previous: Option<Amount>,
    position: &Position,
    value: Option<Amount>,
    flows: impl Iterator<Item = (TransactionType, &'f Cashflow)>,
) -> PositionSeries {
    let mut series = PositionSeries {
        bod_market_value: previous.unwrap_or_default(),
        eod_market_value: value.unwrap_or_default(),
        quantity: position.quantity,
        cost: match position.quantity.is_zero() {
            true => Some(Amount::ZERO),
            false => position.cost_basis_local.per(position.quantity),
        },
        ..PositionSeries::default()
    };
    for (kind, flow) in flows {
        let (of_position, of_portfolio) = match flow.timing {
            Timing::Bod => (&mut series.bod_cashflow_position, &mut series.bod_cashflow_portfolio),
            Timing::Eod => (&mut series.eod_cashflow_position, &mut series.eod_cashflow_portfolio),
        };
        if flow.is_position_flow {
            *of_position += flow.amount;
        }
        if flow.is_portfolio_flow {
            *of_portfolio += flow.amount;
        }
        if kind == TransactionType::Fee {
            series.fees -= flow.amount;
        }
    }
    series
}

/// What the positions of a portfolio in instruments of one currency come to on a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaySum {
    /// Currency of flows and fees.
    pub currency: Currency,
    /// Value in base currency.
    pub market_value: Amount,
    /// Flows of the portfolio at the beginning of the day.
    pub bod_cashflow: Amount,
    /// Flows of the portfolio at the end of the day.
    pub eod_cashflow: Amount,
    /// Fees.
    pub fees: Amount,
}

impl DaySum {
    /// Whether there is anything to convert.
    pub fn has_flows(&self) -> bool {
        !(self.bod_cashflow.is_zero() && self.eod_cashflow.is_zero() && self.fees.is_zero())
    }
}

/// The row of a day: what there is no rate for counts as zero, and so does what does not fit.
pub fn portfolio_series<'s>(
    date: Date,
    bod_market_value: Amount,
    sums: impl Iterator<Item = &'s DaySum>,
    base: &Currency,
    fx: &FxTable,
) -> PortfolioSeries {
    let mut series = PortfolioSeries { bod_market_value, ..PortfolioSeries::default() };
    for sum in sums {
        series.eod_market_value += sum.market_value;
        if !sum.has_flows() {
            continue;
        }
        let Some(rate) = fx.look_up(&sum.currency, base, date) else { continue };
        let converted = |amount: Amount| amount.convert(&rate).unwrap_or_default();
        series.bod_cashflow += converted(sum.bod_cashflow);
        series.eod_cashflow += converted(sum.eod_cashflow);
        series.fees += converted(sum.fees);
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::records::ExchangeRate;

    fn sum(currency: &str, value: i64, flow: i64) -> DaySum {
        DaySum {
            currency: Currency::new(currency),
            market_value: Amount::from_units(value),
            bod_cashflow: Amount::ZERO,
            eod_cashflow: Amount::from_units(flow),
            fees: Amount::from_units(-flow),
        }
    }

    #[test]
    fn flows_without_a_rate_count_as_zero_and_values_count_all_the_same() {
        let date = Date::parse("2025-01-02").expect("a date");
        let rate = ExchangeRate {
            from_currency: Currency::eur(),
            to_currency: Currency::new("USD"),
            rate_date: date,
            rate: Amount::from_units(2),
        };
        let fx = FxTable::new([rate]);
        let sums = [sum("EUR", 10, -3), sum("CHF", 20, -5), sum("USD", 30, -7)];
        let base = Currency::new("USD");
        let bod = Amount::from_units(1);
        let row = portfolio_series(date, bod, sums.iter(), &base, &fx);
        assert_eq!(row.bod_market_value, bod);
        assert_eq!(row.eod_market_value, Amount::from_units(60));
        assert_eq!(row.eod_cashflow, Amount::from_units(-13));
        assert_eq!(row.fees, Amount::from_units(13));
        let early = portfolio_series(date.previous(), bod, sums.iter(), &base, &fx);
        assert_eq!(early.eod_cashflow, Amount::from_units(-7));
    }

    #[test]
    fn a_cost_per_unit_that_does_not_fit_is_none() {
        let (quantity, cost) = (Amount::from_raw(1), Amount::from_units(1_000_000_000));
        let position = Position { quantity, cost_basis: cost, cost_basis_local: cost };
        let row = position_series(None, &position, None, std::iter::empty());
        assert_eq!(row.cost, None);
        let row = position_series(None, &Position::default(), None, std::iter::empty());
        assert_eq!(row.cost, Some(Amount::ZERO));
    }
}
