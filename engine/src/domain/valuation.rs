//! The value of a position on a date.
//!
//! Quantity x price in the price's currency, converted to the instrument's currency and from there
//! to the portfolio's base currency, each at the rate of the snapshot's date. A position without a
//! price or a rate still has a snapshot, which says so; it never has a guessed or partial value.
//!
//! # Invariants
//! - The four values are there all or none.
//! - The status does not depend on the quantity: nothing of a thing without a price is unvalued.

use super::fx::FxTable;
use super::ids::Currency;
use super::money::Amount;
use super::records::{MarketPrice, Position, ValuationStatus, Values};
use super::time::Date;

/// A position's value on a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Valuation {
    /// The price as quoted.
    pub market_price: Option<Amount>,
    /// The four values, all or none.
    pub values: Option<Values>,
    /// How it came to them.
    pub status: ValuationStatus,
}

/// Values a position; `price` is the latest on or before the date.
pub fn value(
    date: Date,
    position: &Position,
    price: Option<&MarketPrice>,
    instrument_currency: &Currency,
    base_currency: &Currency,
    fx: &FxTable,
) -> Valuation {
    let Some(price) = price else {
        return Valuation { market_price: None, values: None, status: ValuationStatus::Unvalued };
    };
    debug_assert!(price.price_date <= date, "a price of the future values nothing");
    let values = values(date, position, price, instrument_currency, base_currency, fx);
    let status = match values {
        None => ValuationStatus::Failed,
        Some(_) if price.price_date == date => ValuationStatus::ValuedCurrent,
        Some(_) => ValuationStatus::ValuedStale,
    };
    Valuation { market_price: Some(price.price), values, status }
}

/// None where a needed rate is missing or a value does not fit.
fn values(
    date: Date,
    position: &Position,
    price: &MarketPrice,
    instrument_currency: &Currency,
    base_currency: &Currency,
    fx: &FxTable,
) -> Option<Values> {
    let to_instrument = fx.look_up(&price.currency, instrument_currency, date)?;
    let to_base = fx.look_up(instrument_currency, base_currency, date)?;
    let market_value_local = position.quantity.times(price.price, &to_instrument)?;
    // From the stored local value, so that the two columns agree with each other.
    let market_value = market_value_local.convert(&to_base)?;
    Some(Values {
        market_value,
        market_value_local,
        unrealized_gain_loss: (market_value - position.cost_basis).stored()?,
        unrealized_gain_loss_local: (market_value_local - position.cost_basis_local).stored()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::SecurityId;
    use crate::domain::records::ExchangeRate;

    #[test]
    fn a_value_that_does_not_fit_fails_the_snapshot_and_keeps_the_price() {
        let date = Date::parse("2025-01-02").expect("a date");
        let usd = Currency::new("USD");
        let price = MarketPrice {
            security_id: SecurityId::new("S"),
            price_date: date,
            price: Amount::from_units(999_999_999_999),
            currency: usd.clone(),
        };
        let position = Position { quantity: Amount::from_units(2_000_000), ..Position::default() };
        let valued = value(date, &position, Some(&price), &usd, &usd, &FxTable::default());
        assert_eq!(valued.status, ValuationStatus::Failed);
        assert_eq!(valued.market_price, Some(price.price));
        assert_eq!(valued.values, None);
    }

    #[test]
    fn the_base_value_comes_from_the_stored_local_value() {
        let date = Date::parse("2025-01-02").expect("a date");
        let (usd, chf) = (Currency::new("USD"), Currency::new("CHF"));
        let price = MarketPrice {
            security_id: SecurityId::new("S"),
            price_date: date,
            price: Amount::parse("0.5").expect("a number"),
            currency: usd.clone(),
        };
        let position = Position { quantity: Amount::from_raw(3), ..Position::default() };
        let rate = ExchangeRate {
            from_currency: usd.clone(),
            to_currency: chf.clone(),
            rate_date: date,
            rate: Amount::from_units(10),
        };
        let fx = FxTable::new([rate]);
        let valued = value(date, &position, Some(&price), &usd, &chf, &fx);
        let values = valued.values.expect("complete");
        assert_eq!(values.market_value_local, Amount::from_raw(2), "1.5 half-even");
        assert_eq!(values.market_value, Amount::from_raw(20), "not 15");
    }
}
