//! Look-up of exchange rates.
//!
//! A rate for a pair and a date is the first that exists of: one for equal currencies, the direct
//! quote, one over the reverse quote, the cross over EUR. Each quote is the latest on or before
//! the date, however old. What is found is a quotient that nobody has rounded yet. There are no
//! other crosses, no interpolation, and a quote's age never matters.
//!
//! # Invariants
//! - Quotes of a pair are in date order, one per date.
//! - Every quote is above zero (refused at intake), so an inverse exists.

use super::ids::Currency;
use super::money::{Amount, FxRate};
use super::records::ExchangeRate;
use super::time::Date;

/// The pivot of cross rates, as text ([`Currency::eur`] allocates nothing either, but compares
/// slower).
const PIVOT: &str = "EUR";

/// Quoted rates by directed pair and date.
#[derive(Clone, Debug, Default)]
pub struct FxTable {
    /// Ordered by pair, so that a look-up compares borrowed texts and allocates nothing.
    pairs: Vec<Quotes>,
}

/// The quotes of a directed pair, in date order.
#[derive(Clone, Debug)]
struct Quotes {
    from: Currency,
    to: Currency,
    by_date: Vec<(Date, Amount)>,
}

impl FxTable {
    /// A table of quotes; of two quotes for one pair and date the later one counts.
    pub fn new(quotes: impl IntoIterator<Item = ExchangeRate>) -> Self {
        let mut table = Self::default();
        for quote in quotes {
            table.insert(quote);
        }
        table
    }

    /// Adds a quote, or replaces the one for the same pair and date.
    pub fn insert(&mut self, quote: ExchangeRate) {
        let at = match self.find(quote.from_currency.as_str(), quote.to_currency.as_str()) {
            Ok(at) => at,
            Err(at) => {
                let quotes = Quotes {
                    from: quote.from_currency,
                    to: quote.to_currency,
                    by_date: Vec::new(),
                };
                self.pairs.insert(at, quotes);
                at
            }
        };
        self.pairs[at].insert(quote.rate_date, quote.rate);
    }

    /// The directed pairs that a look-up may consult; none for equal currencies.
    pub fn pairs(from: &Currency, to: &Currency) -> Vec<(Currency, Currency)> {
        if from == to {
            return Vec::new();
        }
        let eur = Currency::eur();
        let mut pairs = vec![(from.clone(), to.clone()), (to.clone(), from.clone())];
        if *from != eur && *to != eur {
            pairs.extend([
                (from.clone(), eur.clone()),
                (eur.clone(), from.clone()),
                (eur.clone(), to.clone()),
                (to.clone(), eur),
            ]);
        }
        pairs
    }

    /// The rate on that date by the order of the contract: equal, direct, reverse, EUR cross.
    pub fn look_up(&self, from: &Currency, to: &Currency, date: Date) -> Option<FxRate> {
        let (from, to) = (from.as_str(), to.as_str());
        if from == to {
            return Some(FxRate::ONE);
        }
        self.leg(from, to, date).or_else(|| {
            // With EUR at one end the cross is the leg that was just not found.
            if from == PIVOT || to == PIVOT {
                return None;
            }
            let first = self.leg(from, PIVOT, date)?;
            let second = self.leg(PIVOT, to, date)?;
            Some(FxRate::cross(first, second))
        })
    }

    /// The direct quote or else one over the reverse one, each at its own latest date.
    fn leg(&self, from: &str, to: &str, date: Date) -> Option<FxRate> {
        let direct = self.latest(from, to, date).map(FxRate::direct);
        direct.or_else(|| self.latest(to, from, date).map(FxRate::inverse))
    }

    fn latest(&self, from: &str, to: &str, date: Date) -> Option<Amount> {
        let at = self.find(from, to).ok()?;
        self.pairs[at].latest(date)
    }

    fn find(&self, from: &str, to: &str) -> Result<usize, usize> {
        self.pairs
            .binary_search_by(|quotes| (quotes.from.as_str(), quotes.to.as_str()).cmp(&(from, to)))
    }
}

impl Quotes {
    fn insert(&mut self, date: Date, rate: Amount) {
        // Quotes usually come in date order, which makes this an append.
        let at = self.by_date.partition_point(|(quoted, _)| *quoted < date);
        match self.by_date.get_mut(at) {
            Some(same) if same.0 == date => same.1 = rate,
            _ => self.by_date.insert(at, (date, rate)),
        }
    }

    fn latest(&self, date: Date) -> Option<Amount> {
        let after = self.by_date.partition_point(|(quoted, _)| *quoted <= date);
        let (_, rate) = self.by_date[..after].last()?;
        Some(*rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(quotes: &[(&str, &str, &str, &str)]) -> FxTable {
        FxTable::new(quotes.iter().map(|(from, to, date, rate)| ExchangeRate {
            from_currency: Currency::new(from),
            to_currency: Currency::new(to),
            rate_date: Date::parse(date).expect("a date"),
            rate: Amount::parse(rate).expect("a number"),
        }))
    }

    fn check(table: &FxTable, from: &str, to: &str, date: &str, converts_840: Option<&str>) {
        let (from, to) = (Currency::new(from), Currency::new(to));
        let date = Date::parse(date).expect("a date");
        let amount = Amount::from_units(840);
        let found = table.look_up(&from, &to, date);
        let converted = found.map(|rate| amount.convert(&rate).expect("fits").to_string());
        assert_eq!(converted.as_deref(), converts_840, "{from} -> {to} on {date}");
    }

    #[test]
    fn the_latest_quote_on_or_before_the_date_counts_however_old() {
        let table = table(&[
            ("USD", "CHF", "2025-03-01", "3"),
            ("USD", "CHF", "2015-01-01", "2"),
            ("USD", "CHF", "2025-02-01", "7"),
            ("USD", "CHF", "2025-02-01", "4"),
        ]);
        check(&table, "USD", "CHF", "2014-12-31", None);
        check(&table, "USD", "CHF", "2025-01-31", Some("1680"));
        check(&table, "USD", "CHF", "2025-02-01", Some("3360"));
        check(&table, "USD", "CHF", "2025-02-28", Some("3360"));
        check(&table, "USD", "CHF", "2026-01-01", Some("2520"));
        check(&table, "CHF", "CHF", "0999-01-01", Some("840"));
    }

    #[test]
    fn direct_precedes_reverse_precedes_cross_whatever_their_dates() {
        let mut quotes = vec![
            ("USD", "EUR", "2025-01-09", "2"),
            ("CHF", "EUR", "2025-01-02", "3"),
            ("EUR", "CHF", "2025-01-05", "5"),
        ];
        // Legs: USD -> EUR direct, EUR -> CHF reverse until its direct quote appears.
        check(&table(&quotes), "USD", "CHF", "2025-01-08", None);
        check(&table(&quotes), "USD", "CHF", "2025-01-09", Some("8400"));
        check(&table(&quotes[..2]), "USD", "CHF", "2025-01-09", Some("560"));
        check(&table(&quotes), "CHF", "USD", "2025-01-09", Some("1260"));
        quotes.push(("CHF", "USD", "2025-01-03", "4"));
        check(&table(&quotes), "USD", "CHF", "2025-01-09", Some("210"));
        quotes.push(("USD", "CHF", "2025-01-01", "6"));
        check(&table(&quotes), "USD", "CHF", "2025-01-09", Some("5040"));
    }

    #[test]
    fn only_eur_is_a_pivot() {
        let table = table(&[
            ("GBP", "USD", "2025-01-01", "2"),
            ("USD", "JPY", "2025-01-01", "3"),
            ("EUR", "USD", "2025-01-01", "4"),
        ]);
        check(&table, "GBP", "JPY", "2025-01-01", None);
        check(&table, "EUR", "JPY", "2025-01-01", None);
        check(&table, "USD", "EUR", "2025-01-01", Some("210"));
    }

    #[test]
    fn consulted_pairs_are_listed_once_each() {
        let pairs = |from: &str, to: &str| -> Vec<String> {
            FxTable::pairs(&from.into(), &to.into())
                .iter()
                .map(|(f, t)| format!("{f}{t}"))
                .collect()
        };
        assert_eq!(
            pairs("USD", "CHF"),
            ["USDCHF", "CHFUSD", "USDEUR", "EURUSD", "EURCHF", "CHFEUR"]
        );
        assert_eq!(pairs("EUR", "CHF"), ["EURCHF", "CHFEUR"]);
        assert_eq!(pairs("USD", "EUR"), ["USDEUR", "EURUSD"]);
        assert!(pairs("USD", "USD").is_empty());
    }
}
