//! The value of a position on a day.
//!
//! # Invariants
//! - The four values are there together or not at all.

use backdate_engine::domain::ids::{Currency, Key};
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::{Position, ValuationStatus, Values};
use backdate_engine::domain::time::Date;

use super::inputs::Inputs;

/// A snapshot as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Valued {
    /// Position at the end of the day.
    pub position: Position,
    /// The price as quoted.
    pub market_price: Option<Amount>,
    /// The four values.
    pub values: Option<Values>,
    /// How it came to them.
    pub status: ValuationStatus,
}

impl Inputs {
    /// The snapshot of a key that holds `position` at the end of `day`; none without instrument.
    pub(super) fn value(&self, key: &Key, position: Position, day: Date) -> Option<Valued> {
        let instrument = &self.instruments.get(&key.security_id)?.instrument.currency;
        let base = &self.portfolios.get(&key.portfolio_id)?.portfolio.base_currency;
        let quoted =
            self.prices.get(&key.security_id).and_then(|dates| dates.range(..=day).next_back());
        let Some((quoted_on, row)) = quoted else {
            return Some(Valued {
                position,
                market_price: None,
                values: None,
                status: ValuationStatus::Unvalued,
            });
        };
        let price = (row.price.price, &row.price.currency);
        let values = self.values(&position, price, instrument, base, day);
        let status = match values {
            None => ValuationStatus::Failed,
            Some(_) if *quoted_on == day => ValuationStatus::ValuedCurrent,
            Some(_) => ValuationStatus::ValuedStale,
        };
        Some(Valued { position, market_price: Some(row.price.price), values, status })
    }

    fn values(
        &self,
        position: &Position,
        price: (Amount, &Currency),
        instrument: &Currency,
        base: &Currency,
        day: Date,
    ) -> Option<Values> {
        let to_instrument = self.rate(price.1, instrument, day)?;
        let to_base = self.rate(instrument, base, day)?;
        let market_value_local = position.quantity.times(price.0, &to_instrument)?;
        let market_value = market_value_local.convert(&to_base)?;
        Some(Values {
            market_value,
            market_value_local,
            unrealized_gain_loss: (market_value - position.cost_basis).stored()?,
            unrealized_gain_loss_local: (market_value_local - position.cost_basis_local)
                .stored()?,
        })
    }
}
