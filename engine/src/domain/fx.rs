//! Look-up of exchange rates. (Signatures agreed; bodies to be filled.)

use super::ids::Currency;
use super::money::FxRate;
use super::records::ExchangeRate;
use super::time::Date;

/// Quoted rates by directed pair and date.
#[derive(Clone, Debug, Default)]
pub struct FxTable {}

impl FxTable {
    /// A table of quotes.
    pub fn new(quotes: impl IntoIterator<Item = ExchangeRate>) -> Self {
        let _ = quotes.into_iter();
        Self {}
    }

    /// The directed pairs that a look-up may consult; none for equal currencies.
    pub fn pairs(_from: &Currency, _to: &Currency) -> Vec<(Currency, Currency)> {
        Vec::new()
    }

    /// The rate on that date by the order of the contract: equal, direct, reverse, EUR cross.
    pub fn look_up(&self, _from: &Currency, _to: &Currency, _date: Date) -> Option<FxRate> {
        None
    }
}
