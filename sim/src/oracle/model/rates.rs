//! Look-up of a rate: equal currencies, direct, reverse, or a cross over EUR.
//!
//! # Invariants
//! - A quote dated after the day is never used, however near; one before is, however old.

use backdate_engine::domain::ids::Currency;
use backdate_engine::domain::money::FxRate;
use backdate_engine::domain::time::Date;

use super::inputs::Inputs;

impl Inputs {
    /// What one unit of `from` costs in `to` on that day; none if no look-up finds it.
    pub fn rate(&self, from: &Currency, to: &Currency, day: Date) -> Option<FxRate> {
        if from == to {
            return Some(FxRate::ONE);
        }
        if let Some(rate) = self.quoted(from, to, day) {
            return Some(rate);
        }
        let pivot = Currency::new("EUR");
        if *from == pivot || *to == pivot {
            return None;
        }
        let first = self.quoted(from, &pivot, day)?;
        let second = self.quoted(&pivot, to, day)?;
        Some(FxRate::cross(first, second))
    }

    /// The latest direct quote, else one over the latest reverse one.
    fn quoted(&self, from: &Currency, to: &Currency, day: Date) -> Option<FxRate> {
        let latest = |pair: (Currency, Currency)| {
            let (_, row) = self.rates.get(&pair)?.range(..=day).next_back()?;
            Some(row.rate.rate)
        };
        latest((from.clone(), to.clone()))
            .map(FxRate::direct)
            .or_else(|| latest((to.clone(), from.clone())).map(FxRate::inverse))
    }
}
