//! The value of a position on a date. (Signatures agreed; bodies to be filled.)

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
    _date: Date,
    _position: &Position,
    _price: Option<&MarketPrice>,
    _instrument_currency: &Currency,
    _base_currency: &Currency,
    _fx: &FxTable,
) -> Valuation {
    unimplemented!()
}
