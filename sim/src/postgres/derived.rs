//! What follows from committed rows and would be too slow to compute at every look: which keys are
//! due, and which currency pairs a key's look-ups consult.
//!
//! Both stand for a plan with indexes that a real planner has; [`is_due`] and [`consulted`] state
//! them plainly, row by row, and a transaction that has written is answered by those.
//!
//! # Invariants
//! - `due` holds exactly the keys for which [`is_due`] is true, `behind` those for which
//!   [`is_behind`] is, and `pairs` exactly what [`consulted`] says, of the committed rows.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::rc::Rc;

use backdate_engine::defects::{Defect, is_planted};
use backdate_engine::domain::ids::{Currency, Key, PortfolioId, SecurityId, TransactionId};
use backdate_engine::domain::records::BusinessDate;
use backdate_engine::domain::records::{GLOBAL_CALENDAR, KeyStatus};
use backdate_engine::domain::time::Date;
use backdate_engine::ports::store::rows::{
    InstrumentRow, KeyState, PortfolioRow, PriceRow, ReplayRow, TransactionRow, ValuationJobRow,
};
use smol_str::SmolStr;

use super::core::storage::View;
use super::core::table::Record;
use super::schema::{JobIndex, Tables, Written};

/// A pair of currencies in either order: the smaller one first.
pub type Pair = (Currency, Currency);

/// Orders a pair.
pub fn pair(a: &Currency, b: &Currency) -> Pair {
    if a <= b { (a.clone(), b.clone()) } else { (b.clone(), a.clone()) }
}

/// The latest business date.
pub fn latest_business_date(view: View<'_>) -> Option<Date> {
    let code = SmolStr::new(GLOBAL_CALENDAR);
    let all = (code.clone(), Date::FIRST)..=(code, Date::from_days(i32::MAX));
    view.range::<BusinessDate>(all).next_back().map(|row| row.business_date)
}

/// Whether a valuation job holds the key with its current token.
pub fn has_open_job(view: View<'_>, state: &KeyState) -> bool {
    let from = Bound::Included((JobIndex::Key(state.key.clone()), 0));
    let key = state.key.clone();
    let wanted = move |entry: &JobIndex| matches!(entry, JobIndex::Key(other) if *other == key);
    view.scan::<ValuationJobRow>(from, wanted).any(|(_, job)| {
        job.row.keys.iter().any(|held| held.key == state.key && held.token == state.token())
    })
}

/// Whether the key is `REPROCESSING` or not at the latest business date.
pub fn is_behind(state: &KeyState, latest: Option<Date>) -> bool {
    let is_away = latest.is_some_and(|latest| state.watermark_date != latest);
    state.status == KeyStatus::Reprocessing || is_away
}

/// Whether the scheduler has to look at the key.
pub fn is_due(view: View<'_>, state: &KeyState, latest: Option<Date>) -> bool {
    let looks_at_replays =
        !is_planted(Defect::CurrentDuringReplay) && !is_planted(Defect::JobsDuringReplay);
    let looks_at_jobs = !is_planted(Defect::OpenJobsIgnored);
    is_behind(state, latest)
        && !(looks_at_replays && view.get::<ReplayRow>(&state.key).is_some())
        && !(looks_at_jobs && has_open_job(view, state))
}

/// The pairs that the look-ups of a key consult, each once.
pub fn consulted(view: View<'_>, state: &KeyState) -> Vec<Pair> {
    let portfolio = view.get::<PortfolioRow>(&state.key.portfolio_id);
    let folded = state.fold_terms.as_ref().map(|terms| &terms.base_currency);
    let base = portfolio.map(|row| &row.portfolio.base_currency).or(folded);
    let instrument = view.get::<InstrumentRow>(&state.key.security_id);
    let instrument = instrument.map(|row| &row.instrument.currency);
    let mut pairs = BTreeSet::new();
    if let Some(base) = base {
        for trade in trade_currencies(view, &state.key) {
            look_up(&trade, base, &mut pairs);
        }
    }
    if let Some(instrument) = instrument {
        for price in price_currencies(view, &state.key.security_id) {
            look_up(&price, instrument, &mut pairs);
        }
        if let Some(base) = base {
            look_up(instrument, base, &mut pairs);
        }
    }
    pairs.into_iter().collect()
}

/// What `from -> to` consults: the pair itself and its legs through EUR.
fn look_up(from: &Currency, to: &Currency, pairs: &mut BTreeSet<Pair>) {
    if from == to {
        return;
    }
    if is_planted(Defect::PairScanDirectOnly) {
        pairs.insert(pair(from, to));
        return;
    }
    let eur = Currency::eur();
    for (a, b) in [(from, to), (from, &eur), (to, &eur)] {
        if a != b {
            pairs.insert(pair(a, b));
        }
    }
}

/// Distinct trade currencies of a key's stored transactions, by hops over the index.
fn trade_currencies(view: View<'_>, key: &Key) -> Vec<Currency> {
    let nothing = TransactionId::new("");
    let mut found: Vec<Currency> = Vec::new();
    let mut from = Bound::Included(((key.clone(), Currency::new("")), nothing.clone()));
    loop {
        let of_key = key.clone();
        let wanted = move |entry: &(Key, Currency)| entry.0 == of_key;
        let Some((entry, _)) = view.scan::<TransactionRow>(from, wanted).next() else {
            return found;
        };
        let currency = entry.1.clone();
        // The first text that sorts after all ids of this currency.
        let next = Currency::new(format!("{currency}\0"));
        from = Bound::Included(((key.clone(), next), nothing.clone()));
        found.push(currency);
    }
}

/// Distinct currencies of a security's prices, by hops over the index.
fn price_currencies(view: View<'_>, security: &SecurityId) -> Vec<Currency> {
    let mut found: Vec<Currency> = Vec::new();
    let day = (security.clone(), Date::from_days(i32::MIN));
    let mut from = Bound::Included(((security.clone(), Currency::new("")), day.clone()));
    loop {
        let of_security = security.clone();
        let wanted = move |entry: &(SecurityId, Currency)| entry.0 == of_security;
        let Some((entry, _)) = view.scan::<PriceRow>(from, wanted).next() else { return found };
        let currency = entry.1.clone();
        let next = Currency::new(format!("{currency}\0"));
        from = Bound::Included(((security.clone(), next), day.clone()));
        found.push(currency);
    }
}

/// What a transaction's writes may have changed in the derived views.
#[derive(Default)]
pub struct Dirty {
    due: BTreeSet<Key>,
    pairs: BTreeSet<Key>,
    calendar: bool,
}

impl Dirty {
    /// Notes a write before it is committed.
    pub fn note(&mut self, tables: &Tables, written: &Written) {
        match written {
            Written::Keys(key) => self.note_key(tables, key),
            Written::Replays(key) => {
                self.due.insert(key.clone());
            }
            Written::Jobs(id) => {
                let (old, new) = tables.jobs.both(id);
                let keys = old.iter().chain(new.iter()).flat_map(|job| &job.keys);
                self.due.extend(keys.map(|job| job.key.clone()));
            }
            Written::BusinessDates(_) => self.calendar = true,
            Written::Transactions(id) => {
                let (old, new) = tables.transactions.both(id);
                let terms = |row: &Rc<TransactionRow>| {
                    (row.transaction.key.clone(), row.transaction.terms.trade_currency.clone())
                };
                let (old, new) = (old.map(terms), new.map(terms));
                if old != new {
                    self.pairs.extend([old, new].into_iter().flatten().map(|(key, _)| key));
                }
            }
            Written::Prices(id) => self.note_price(tables, id),
            Written::Portfolios(id) => {
                let (old, new) = tables.portfolios.both(id);
                let base = |row: &Rc<PortfolioRow>| row.portfolio.base_currency.clone();
                if old.map(base) != new.map(base) {
                    self.pairs.extend(keys_of_portfolio(View::committed(tables), id));
                }
            }
            Written::Instruments(id) => {
                let (old, new) = tables.instruments.both(id);
                let currency = |row: &Rc<InstrumentRow>| row.instrument.currency.clone();
                if old.map(currency) != new.map(currency) {
                    self.pairs.extend(keys_of_security(View::committed(tables), id));
                }
            }
            _ => {}
        }
    }

    fn note_key(&mut self, tables: &Tables, key: &Key) {
        self.due.insert(key.clone());
        let (old, new) = tables.keys.both(key);
        let base = |state: &Rc<KeyState>| state.fold_terms.clone().map(|terms| terms.base_currency);
        if old.is_none() || old.map(base) != new.map(base) {
            self.pairs.insert(key.clone());
        }
    }

    fn note_price(&mut self, tables: &Tables, id: &(SecurityId, Date)) {
        let (old, new) = tables.prices.both(id);
        let currency = |row: &Rc<PriceRow>| row.price.currency.clone();
        let (old, new) = (old.map(currency), new.map(currency));
        if old == new {
            return;
        }
        let is_known = old.is_none()
            && new.is_some_and(|new| {
                let first = (id.0.clone(), Date::from_days(i32::MIN));
                let from = Bound::Included(((id.0.clone(), new.clone()), first));
                let of_currency = |entry: &&((SecurityId, Currency), (SecurityId, Date))| {
                    entry.0 == (id.0.clone(), new.clone())
                };
                let mut others = tables.prices.entries(from).take_while(of_currency);
                others.any(|(_, pk)| {
                    let committed = tables.prices.committed(pk);
                    committed.is_some_and(|version| version.row.price.currency == new)
                })
            });
        if !is_known {
            self.pairs.extend(keys_of_security(View::committed(tables), &id.0));
        }
    }
}

/// Keys of a portfolio, in key order.
pub fn keys_of_portfolio<'a>(
    view: View<'a>,
    id: &PortfolioId,
) -> impl Iterator<Item = Key> + use<'a> {
    let first = Key { portfolio_id: id.clone(), security_id: SecurityId::new("") };
    let id = id.clone();
    view.range::<KeyState>(first..)
        .take_while(move |state| state.key.portfolio_id == id)
        .map(|state| state.key.clone())
}

/// Keys of a security, in key order.
pub fn keys_of_security<'a>(
    view: View<'a>,
    id: &SecurityId,
) -> impl Iterator<Item = Key> + use<'a> {
    let first = Key { portfolio_id: PortfolioId::new(""), security_id: SecurityId::new("") };
    let from = Bound::Included((id.clone(), first));
    let id = id.clone();
    view.scan::<KeyState>(from, move |entry| *entry == id).map(|(_, version)| version.row.pk())
}

/// The views.
#[derive(Default)]
pub struct Derived {
    /// Keys that the scheduler has to look at.
    pub due: BTreeSet<Key>,
    /// Keys that are `REPROCESSING` or not at the latest business date.
    pub behind: BTreeSet<Key>,
    /// Keys by the pairs that they consult.
    pub pairs: BTreeMap<Pair, BTreeSet<Key>>,
    by_key: BTreeMap<Key, Vec<Pair>>,
    latest: Option<Date>,
}

impl Derived {
    /// Follows a commit.
    pub fn refresh(&mut self, tables: &Tables, dirty: Dirty) {
        let view = View::committed(tables);
        if dirty.calendar {
            let latest = latest_business_date(view);
            if latest != self.latest {
                self.latest = latest;
                let keys: Vec<Rc<KeyState>> = tables.keys.all().cloned().collect();
                keys.iter().for_each(|state| self.refresh_due(view, &state.key));
            }
        }
        dirty.due.iter().for_each(|key| self.refresh_due(view, key));
        dirty.pairs.iter().for_each(|key| self.refresh_pairs(view, key));
    }

    fn refresh_due(&mut self, view: View<'_>, key: &Key) {
        let state = view.get::<KeyState>(key);
        put(&mut self.behind, key, state.is_some_and(|state| is_behind(state, self.latest)));
        put(&mut self.due, key, state.is_some_and(|state| is_due(view, state, self.latest)));
    }

    fn refresh_pairs(&mut self, view: View<'_>, key: &Key) {
        let new = view.get::<KeyState>(key).map(|state| consulted(view, state));
        if self.by_key.get(key) == new.as_ref() {
            return;
        }
        for pair in self.by_key.remove(key).unwrap_or_default() {
            if let Some(keys) = self.pairs.get_mut(&pair) {
                keys.remove(key);
            }
        }
        let Some(new) = new else { return };
        for pair in &new {
            self.pairs.entry(pair.clone()).or_default().insert(key.clone());
        }
        self.by_key.insert(key.clone(), new);
    }
}

fn put(set: &mut BTreeSet<Key>, key: &Key, is_in: bool) {
    if !is_in {
        set.remove(key);
    } else if !set.contains(key) {
        set.insert(key.clone());
    }
}
