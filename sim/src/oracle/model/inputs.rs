//! The inputs that count, one content per identity.
//!
//! Two feeds fill it: rows as persistence has stored them, or messages in the order of the log with
//! the rule about versions: a lower version is dropped, equal content only raises the stored
//! version, and at equal versions the later message wins.
//!
//! # Invariants
//! - A timeline holds each transaction once, in the total order of the contract.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::rc::Rc;

use backdate_engine::domain::ids::{Currency, Key, PortfolioId, SecurityId, TransactionId};
use backdate_engine::domain::records::{
    BusinessDate, GLOBAL_CALENDAR, Place, Transaction, TransactionType,
};
use backdate_engine::domain::time::Date;
use backdate_engine::ports::store::rows::{
    InstrumentRow, PortfolioRow, PriceRow, RateRow, TransactionRow,
};

use super::read::{Code, Input};

/// What became of a message that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is the content now, or says the same as the content.
    Reflected,
    /// A higher version is there.
    Superseded,
    /// It has no effect and belongs to the dead letters.
    Rejected(Code),
}

/// The inputs.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    pub(super) transactions: BTreeMap<TransactionId, Rc<TransactionRow>>,
    pub(super) timelines: BTreeMap<Key, BTreeMap<Place, Rc<TransactionRow>>>,
    pub(super) prices: BTreeMap<SecurityId, BTreeMap<Date, Rc<PriceRow>>>,
    pub(super) rates: BTreeMap<(Currency, Currency), BTreeMap<Date, Rc<RateRow>>>,
    pub(super) portfolios: BTreeMap<PortfolioId, Rc<PortfolioRow>>,
    pub(super) instruments: BTreeMap<SecurityId, Rc<InstrumentRow>>,
    pub(super) business_dates: BTreeSet<BusinessDate>,
    /// Those of the only calendar that counts.
    pub(super) valued_dates: BTreeSet<Date>,
    /// Every currency that a price of the security ever had.
    price_currencies: BTreeMap<SecurityId, BTreeSet<Currency>>,
    /// Every currency that a transaction of the key ever had.
    trade_currencies: BTreeMap<Key, BTreeSet<Currency>>,
}

/// Place of a transaction in its timeline: instant, then what adds units, then the id.
pub(super) fn place(transaction: &Transaction) -> Place {
    use TransactionType::{Buy, Deposit, TransferIn};
    let adds = matches!(transaction.terms.kind, Buy | TransferIn | Deposit);
    Place {
        at: transaction.terms.at,
        rank: u8::from(!adds),
        transaction_id: transaction.transaction_id.clone(),
    }
}

impl Inputs {
    /// Takes a message in the order of the log.
    pub fn take(&mut self, input: Input, version: i64) -> Taken {
        match input {
            Input::Transaction(content) => self.take_transaction(*content, version),
            Input::Price(price) => {
                let stored = self
                    .prices
                    .get(&price.security_id)
                    .and_then(|dates| dates.get(&price.price_date));
                if stored.is_some_and(|row| version < row.source_version) {
                    return Taken::Superseded;
                }
                self.set_price(Rc::new(PriceRow { price, source_version: version }));
                Taken::Reflected
            }
            Input::Rate(rate) => {
                let pair = (rate.from_currency.clone(), rate.to_currency.clone());
                let stored = self.rates.get(&pair).and_then(|d| d.get(&rate.rate_date));
                if stored.is_some_and(|row| version < row.source_version) {
                    return Taken::Superseded;
                }
                self.set_rate(Rc::new(RateRow { rate, source_version: version }));
                Taken::Reflected
            }
            Input::Portfolio(portfolio) => {
                let stored = self.portfolios.get(&portfolio.portfolio_id);
                if stored.is_some_and(|row| version < row.source_version) {
                    return Taken::Superseded;
                }
                self.set_portfolio(Rc::new(PortfolioRow { portfolio, source_version: version }));
                Taken::Reflected
            }
            Input::Instrument(instrument) => {
                let stored = self.instruments.get(&instrument.security_id);
                if stored.is_some_and(|row| version < row.source_version) {
                    return Taken::Superseded;
                }
                self.set_instrument(Rc::new(InstrumentRow { instrument, source_version: version }));
                Taken::Reflected
            }
            Input::BusinessDate(date) => {
                self.set_business_date(&date);
                Taken::Reflected
            }
        }
    }

    /// A lower version is dropped whatever it says; only then is the key compared.
    fn take_transaction(&mut self, content: Transaction, version: i64) -> Taken {
        if let Some(stored) = self.transactions.get(&content.transaction_id) {
            if version < stored.source_version {
                return Taken::Superseded;
            }
            if stored.transaction.key != content.key {
                return Taken::Rejected("KEY_CHANGED");
            }
        }
        self.set_transaction(Rc::new(TransactionRow {
            transaction: content,
            source_version: version,
            correlation_id: None,
        }));
        Taken::Reflected
    }

    /// Takes a stored row; answers the row that it replaces.
    pub fn set_transaction(&mut self, row: Rc<TransactionRow>) -> Option<Rc<TransactionRow>> {
        let id = row.transaction.transaction_id.clone();
        let old = self.transactions.insert(id, Rc::clone(&row));
        if let Some(old) = &old
            && let Some(timeline) = self.timelines.get_mut(&old.transaction.key)
        {
            timeline.remove(&place(&old.transaction));
        }
        let key = row.transaction.key.clone();
        let currency = &row.transaction.terms.trade_currency;
        let known = self.trade_currencies.entry(key.clone()).or_default();
        if !known.contains(currency) {
            known.insert(currency.clone());
        }
        let timeline = self.timelines.entry(key).or_default();
        timeline.insert(place(&row.transaction), row);
        old
    }

    /// Takes a stored row.
    pub fn set_price(&mut self, row: Rc<PriceRow>) {
        let id = row.price.security_id.clone();
        let known = self.price_currencies.entry(id.clone()).or_default();
        if !known.contains(&row.price.currency) {
            known.insert(row.price.currency.clone());
        }
        let dates = self.prices.entry(id).or_default();
        dates.insert(row.price.price_date, row);
    }

    /// Takes a stored row.
    pub fn set_rate(&mut self, row: Rc<RateRow>) {
        let pair = (row.rate.from_currency.clone(), row.rate.to_currency.clone());
        self.rates.entry(pair).or_default().insert(row.rate.rate_date, row);
    }

    /// Takes a stored row.
    pub fn set_portfolio(&mut self, row: Rc<PortfolioRow>) {
        self.portfolios.insert(row.portfolio.portfolio_id.clone(), row);
    }

    /// Takes a stored row.
    pub fn set_instrument(&mut self, row: Rc<InstrumentRow>) {
        self.instruments.insert(row.instrument.security_id.clone(), row);
    }

    /// Takes a stored row.
    pub fn set_business_date(&mut self, date: &BusinessDate) {
        if date.calendar_code == GLOBAL_CALENDAR {
            self.valued_dates.insert(date.business_date);
        }
        self.business_dates.insert(date.clone());
    }

    /// The latest business date.
    pub fn latest_business_date(&self) -> Option<Date> {
        self.valued_dates.last().copied()
    }

    /// Business dates in a range, both ends included.
    pub fn dates(&self, from: Date, to: Date) -> impl Iterator<Item = Date> + '_ {
        let range = (from <= to).then(|| self.valued_dates.range(from..=to));
        range.into_iter().flatten().copied()
    }

    /// Keys that have a transaction, in key order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.timelines.iter().filter(|(_, timeline)| !timeline.is_empty()).map(|(key, _)| key)
    }

    /// The content and version of a transaction.
    pub fn transaction(&self, id: &TransactionId) -> Option<&Rc<TransactionRow>> {
        self.transactions.get(id)
    }

    /// Whether the instrument of a security is known.
    pub fn knows_instrument(&self, security_id: &SecurityId) -> bool {
        self.instruments.contains_key(security_id)
    }

    /// Whether costs or values of the key may depend on a quote between two currencies.
    pub fn may_use(&self, key: &Key, pair: (&Currency, &Currency)) -> bool {
        let base = self.portfolios.get(&key.portfolio_id);
        let instrument = self.instruments.get(&key.security_id);
        let prices = self.price_currencies.get(&key.security_id);
        let trades = self.trade_currencies.get(key);
        let met = |currency: &Currency| {
            currency.as_str() == "EUR"
                || base.is_some_and(|row| row.portfolio.base_currency == *currency)
                || instrument.is_some_and(|row| row.instrument.currency == *currency)
                || prices.is_some_and(|known| known.contains(currency))
                || trades.is_some_and(|known| known.contains(currency))
        };
        met(pair.0) && met(pair.1)
    }

    /// Whether the content that is stored for an input's identity is that very content, and its
    /// version; none if nothing is stored.
    pub fn stored(&self, input: &Input) -> Option<(bool, i64)> {
        match input {
            Input::Transaction(content) => self
                .transactions
                .get(&content.transaction_id)
                .map(|row| (row.transaction == **content, row.source_version)),
            Input::Price(price) => self
                .prices
                .get(&price.security_id)
                .and_then(|dates| dates.get(&price.price_date))
                .map(|row| (row.price == *price, row.source_version)),
            Input::Rate(rate) => self
                .rates
                .get(&(rate.from_currency.clone(), rate.to_currency.clone()))
                .and_then(|dates| dates.get(&rate.rate_date))
                .map(|row| (row.rate == *rate, row.source_version)),
            Input::Portfolio(portfolio) => self
                .portfolios
                .get(&portfolio.portfolio_id)
                .map(|row| (row.portfolio == *portfolio, row.source_version)),
            Input::Instrument(instrument) => self
                .instruments
                .get(&instrument.security_id)
                .map(|row| (row.instrument == *instrument, row.source_version)),
            Input::BusinessDate(date) => {
                self.business_dates.contains(date).then_some((true, i64::MAX))
            }
        }
    }

    /// The first identity whose content or version differs between two sets of inputs.
    pub fn first_difference(&self, other: &Inputs) -> Option<String> {
        let transactions = |inputs: &Inputs| -> BTreeMap<TransactionId, (Transaction, i64)> {
            let plain = |row: &Rc<TransactionRow>| (row.transaction.clone(), row.source_version);
            let rows = inputs.transactions.iter();
            rows.map(|(id, row)| (id.clone(), plain(row))).collect()
        };
        differing(&transactions(self), &transactions(other))
            .or_else(|| {
                self.prices.iter().find_map(|(id, dates)| differing(dates, other.prices.get(id)?))
            })
            .or_else(|| {
                self.rates.iter().find_map(|(id, dates)| differing(dates, other.rates.get(id)?))
            })
            .or_else(|| missing(&self.prices, &other.prices))
            .or_else(|| missing(&self.rates, &other.rates))
            .or_else(|| differing(&self.portfolios, &other.portfolios))
            .or_else(|| differing(&self.instruments, &other.instruments))
            .or_else(|| {
                let odd = self.business_dates.symmetric_difference(&other.business_dates);
                let odd = odd.into_iter().next()?;
                Some(format!("business date {odd:?} is in one set only"))
            })
    }
}

fn differing<K: Ord + Debug, V: PartialEq + Debug>(
    ours: &BTreeMap<K, V>,
    theirs: &BTreeMap<K, V>,
) -> Option<String> {
    let changed = ours.iter().find(|(key, value)| theirs.get(key) != Some(value));
    if let Some((key, value)) = changed {
        let there = theirs.get(key);
        return Some(format!("{key:?} must be {value:?} and is {there:?}"));
    }
    missing(theirs, ours).map(|text| format!("more than there should be: {text}"))
}

fn missing<K: Ord + Debug, V>(ours: &BTreeMap<K, V>, theirs: &BTreeMap<K, V>) -> Option<String> {
    let key = ours.keys().find(|key| !theirs.contains_key(key))?;
    Some(format!("{key:?} is missing"))
}
