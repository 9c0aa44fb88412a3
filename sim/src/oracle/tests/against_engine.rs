//! The naive model and the engine's rules were written apart; here they answer the same questions.
//!
//! Timelines, rates, prices and messages are drawn at random, with few values so that ties, exact
//! zeros, debts, missing rates and overflows are frequent. A difference is a mistake of one side.

mod series;

use std::collections::BTreeMap;
use std::rc::Rc;

use backdate_engine::domain::cost::Fold;
use backdate_engine::domain::fx::FxTable;
use backdate_engine::domain::ids::{Currency, Key, TransactionId};
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::{
    CostMethod, ExchangeRate, Fate, Instrument, Lot, MarketPrice, Place, Portfolio, Position,
    Terms, Transaction, TransactionType,
};
use backdate_engine::domain::time::{Date, Timestamp};
use backdate_engine::domain::{intake, valuation};
use backdate_engine::ports::log::Topic;
use backdate_engine::ports::store::rows::{
    InstrumentRow, PortfolioRow, PriceRow, RateRow, SnapshotRow, TransactionRow,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use smol_str::SmolStr;

use crate::oracle::g01_convergence::{same_costs, same_snapshot};
use crate::oracle::model::{Input, Inputs, read};
use crate::oracle::rule::{near, near_position};

const CURRENCIES: [&str; 4] = ["USD", "EUR", "CHF", "GBP"];
const DAYS: u32 = 12;

struct World {
    rng: ChaCha8Rng,
    inputs: Inputs,
    rates: Vec<ExchangeRate>,
    prices: Vec<MarketPrice>,
    base: Currency,
    instrument: Currency,
    method: CostMethod,
}

fn pick<T: Clone>(rng: &mut ChaCha8Rng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())].clone()
}

fn day(rng: &mut ChaCha8Rng) -> Date {
    let first = Date::parse("2025-01-01").expect("a date").days();
    Date::from_days(first + rng.random_range(0..DAYS) as i32)
}

fn amount(rng: &mut ChaCha8Rng) -> Amount {
    let texts =
        ["0", "1", "3", "7.5", "10", "0.0000000001", "33.3333333333", "120", "999999999999.9"];
    Amount::parse(pick(rng, &texts)).expect("a number")
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut currency = || Currency::new(pick(&mut rng, &CURRENCIES));
        let (base, instrument) = (currency(), currency());
        let method = pick(&mut rng, &[CostMethod::Fifo, CostMethod::Avco]);
        let mut world = Self {
            rng,
            inputs: Inputs::default(),
            rates: Vec::new(),
            prices: Vec::new(),
            base,
            instrument,
            method,
        };
        world.reference();
        world.market();
        world.trades();
        world
    }

    fn reference(&mut self) {
        let portfolio = Portfolio {
            portfolio_id: "P".into(),
            base_currency: self.base.clone(),
            open_date: SmolStr::new("-"),
            cost_basis_method: self.method,
        };
        self.inputs.set_portfolio(Rc::new(PortfolioRow { portfolio, source_version: 0 }));
        let instrument = Instrument {
            security_id: "S".into(),
            currency: self.instrument.clone(),
            product_type: SmolStr::new("-"),
        };
        self.inputs.set_instrument(Rc::new(InstrumentRow { instrument, source_version: 0 }));
    }

    fn market(&mut self) {
        for _ in 0..self.rng.random_range(0..12) {
            let rate = ExchangeRate {
                from_currency: Currency::new(pick(&mut self.rng, &CURRENCIES)),
                to_currency: Currency::new(pick(&mut self.rng, &CURRENCIES)),
                rate_date: day(&mut self.rng),
                rate: amount(&mut self.rng),
            };
            let known = self.rates.iter().any(|known| {
                (&known.from_currency, &known.to_currency, known.rate_date)
                    == (&rate.from_currency, &rate.to_currency, rate.rate_date)
            });
            if !known && !rate.rate.is_zero() {
                self.rates.push(rate.clone());
                self.inputs.set_rate(Rc::new(RateRow { rate, source_version: 0 }));
            }
        }
        for _ in 0..self.rng.random_range(0..4) {
            let price = MarketPrice {
                security_id: "S".into(),
                price_date: day(&mut self.rng),
                price: amount(&mut self.rng),
                currency: Currency::new(pick(&mut self.rng, &CURRENCIES)),
            };
            self.prices.retain(|known| known.price_date != price.price_date);
            self.prices.push(price.clone());
            self.inputs.set_price(Rc::new(PriceRow { price, source_version: 0 }));
        }
    }

    fn trades(&mut self) {
        let trade_currency = match self.rng.random_range(0..4) {
            0 => Currency::new(pick(&mut self.rng, &CURRENCIES)),
            _ => self.instrument.clone(),
        };
        for number in 0..self.rng.random_range(1..25) {
            let rng = &mut self.rng;
            let kind = pick(rng, TransactionType::ALL);
            let policy = rng
                .random_bool(0.3)
                .then(|| SmolStr::new_static("BUY_EXCLUDE_ACCRUED_INTEREST_FROM_BOOK_COST"));
            let at = day(rng).start().micros() + i64::from(rng.random_range(0..2_u8));
            let terms = Terms {
                at: Timestamp::from_micros(at),
                kind,
                quantity: amount(rng).max(Amount::from_raw(1)),
                price: Amount::ONE,
                gross: amount(rng),
                fee: Amount::from_units(rng.random_range(0..2)),
                accrued_interest: amount(rng),
                policy,
                trade_currency: trade_currency.clone(),
                currency: trade_currency.clone(),
            };
            let transaction = Transaction {
                transaction_id: TransactionId::new(format!("T{number}")),
                key: Key::new("P", "S"),
                instrument_id: SmolStr::new("-"),
                settlement_date: None,
                terms,
            };
            let row = TransactionRow { transaction, source_version: 0, correlation_id: None };
            self.inputs.set_transaction(Rc::new(row));
        }
    }
}

#[test]
fn the_engine_folds_and_values_as_the_model_does() {
    for seed in 0..3_000 {
        let world = World::new(seed);
        let key = Key::new("P", "S");
        let model = world.inputs.fold(&key);
        let table = FxTable::new(world.rates.iter().cloned());
        let mut fold = Fold::new(Some(world.method), Position::default(), Vec::new());
        let mut lots: BTreeMap<Place, Lot> = BTreeMap::new();
        for row in &model.rows {
            let id = &row.place.transaction_id;
            let terms = &world.inputs.transaction(id).expect("stored").transaction.terms;
            let place = Place::of(id, terms);
            assert_eq!(place, row.place, "seed {seed}");
            let fx = table.look_up(&terms.trade_currency, &world.base, place.date());
            let outcome = fold.apply(&place, terms, fx);
            let same = match (&row.outcome, &outcome.fate) {
                (Ok((costs, position)), Fate::Applied(theirs)) => {
                    same_costs(costs, theirs) && near_position(position, &fold.position())
                }
                (Err(reason), Fate::Parked(theirs)) => reason == theirs,
                _ => false,
            };
            assert!(same, "seed {seed}: {terms:?}\nmodel {row:?}\nengine {outcome:?}");
            let changes = fold.take_lot_changes();
            changes.deleted.iter().for_each(|place| drop(lots.remove(place)));
            let written = changes.added.into_iter().chain(changes.changed);
            lots.extend(written.map(|lot| (lot.opened.clone(), lot)));
        }
        let same_lots = model.lots.len() == lots.len()
            && model.lots.iter().zip(lots.values()).all(|(ours, theirs)| {
                ours.opened == theirs.opened
                    && near(ours.quantity, theirs.quantity)
                    && near(ours.cost, theirs.cost)
                    && near(ours.cost_local, theirs.cost_local)
            });
        assert!(same_lots, "seed {seed}: model {:?}\nengine {lots:?}", model.lots);
        values(&world, &table, seed);
    }
}

fn values(world: &World, table: &FxTable, seed: u64) {
    let key = Key::new("P", "S");
    let mut inputs = world.inputs.clone();
    let first = Date::parse("2025-01-01").expect("a date").days();
    for offset in 0..DAYS as i32 {
        inputs.set_business_date(&backdate_engine::domain::records::BusinessDate {
            calendar_code: SmolStr::new("GLOBAL"),
            business_date: Date::from_days(first + offset),
        });
    }
    let tables = inputs.key_tables(&key, None, None);
    series::check(&inputs, &tables, seed);
    for (date, must) in tables.snapshots {
        let on_or_before = world.prices.iter().filter(|price| price.price_date <= date);
        let price = on_or_before.max_by_key(|price| price.price_date);
        let position = &must.position;
        let (instrument, base) = (&world.instrument, &world.base);
        let found = valuation::value(date, position, price, instrument, base, table);
        let row = SnapshotRow {
            key: key.clone(),
            date,
            epoch: Default::default(),
            revision: Default::default(),
            position: must.position,
            market_price: found.market_price,
            values: found.values,
            valuation_status: found.status,
        };
        assert!(same_snapshot(&must, &row), "seed {seed} {date}: {must:?}\nengine {row:?}");
    }
}

/// Values that are right for some fields and wrong for others.
const ODD: [&str; 22] = [
    "1",
    "0",
    "-1",
    "\"2.5\"",
    "null",
    "\"\"",
    "true",
    "\"x\"",
    "1e12",
    "1e400",
    "[1]",
    "\"2025-01-02\"",
    "\"2025-01-02T00:30:00+02:00\"",
    "\"0001-01-01\"",
    "\"BUY\"",
    "\"SELL\"",
    "\"GIFT\"",
    "\"FIFO\"",
    "\"a\\u0000\"",
    "\"\\ud800\"",
    "NaN",
    "1e-11",
];

/// Good messages by topic.
type Fields = &'static [(&'static str, &'static str)];
const MESSAGES: [(Topic, Fields); 6] = [
    (
        Topic::RawTransactions,
        &[
            ("transaction_id", "\"T\""),
            ("portfolio_id", "\"P\""),
            ("instrument_id", "\"I\""),
            ("security_id", "\"S\""),
            ("transaction_date", "\"2025-01-02\""),
            ("transaction_type", "\"SELL\""),
            ("quantity", "1"),
            ("price", "2"),
            ("gross_transaction_amount", "3"),
            ("trade_fee", "1"),
            ("trade_currency", "\"USD\""),
            ("currency", "\"USD\""),
            ("settlement_date", "null"),
            ("accrued_interest", "0"),
            ("calculation_policy_id", "\"X\""),
            ("source_version", "3"),
        ],
    ),
    (
        Topic::MarketPrices,
        &[
            ("security_id", "\"S\""),
            ("price_date", "\"2025-01-02\""),
            ("price", "2"),
            ("currency", "\"USD\""),
            ("source_version", "3"),
        ],
    ),
    (
        Topic::FxRates,
        &[
            ("from_currency", "\"S\""),
            ("to_currency", "\"T\""),
            ("rate_date", "\"2025-01-02\""),
            ("rate", "2"),
            ("source_version", "3"),
        ],
    ),
    (
        Topic::RawPortfolios,
        &[
            ("portfolio_id", "\"P\""),
            ("base_currency", "\"USD\""),
            ("open_date", "\"d\""),
            ("cost_basis_method", "\"AVCO\""),
        ],
    ),
    (
        Topic::Instruments,
        &[("security_id", "\"P\""), ("currency", "\"USD\""), ("product_type", "\"d\"")],
    ),
    (Topic::RawBusinessDates, &[("business_date", "\"2025-01-02\""), ("calendar_code", "\"X\"")]),
];

#[test]
fn the_engine_reads_messages_as_the_model_does() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut accepted = 0;
    for _ in 0..20_000 {
        let (topic, fields) = pick(&mut rng, &MESSAGES);
        let faults = rng.random_range(0..3);
        let mut texts: Vec<(String, &str)> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        for _ in 0..faults {
            let at = rng.random_range(0..texts.len());
            match rng.random_range(0..10) {
                0 => drop(texts.remove(at)),
                1 => texts.push(texts[at].clone()),
                2 => texts.push(("unheard_of".to_owned(), pick(&mut rng, &ODD))),
                _ => texts[at].1 = pick(&mut rng, &ODD),
            }
            if texts.is_empty() {
                break;
            }
        }
        let texts: Vec<String> =
            texts.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let message = format!("{{{}}}", texts.join(","));
        let ours = read(topic, message.as_bytes()).expect("a raw topic");
        let theirs = engine_reads(topic, message.as_bytes());
        accepted += usize::from(ours.is_ok());
        assert_eq!(ours, theirs, "{topic} {message}");
    }
    assert!(accepted > 5_000, "only {accepted} messages were acceptable");
}

fn engine_reads(topic: Topic, value: &[u8]) -> Result<(Input, i64), &'static str> {
    let read = match topic {
        Topic::RawTransactions => intake::transaction(value)
            .map(|read| (Input::Transaction(Box::new(read.content)), read.source_version)),
        Topic::MarketPrices => intake::market_price(value)
            .map(|read| (Input::Price(read.content), read.source_version)),
        Topic::FxRates => intake::exchange_rate(value)
            .map(|read| (Input::Rate(read.content), read.source_version)),
        Topic::RawPortfolios => intake::portfolio(value)
            .map(|read| (Input::Portfolio(read.content), read.source_version)),
        Topic::Instruments => intake::instrument(value)
            .map(|read| (Input::Instrument(read.content), read.source_version)),
        _ => intake::business_date(value)
            .map(|read| (Input::BusinessDate(read.content), read.source_version)),
    };
    read.map_err(|rejection| rejection.as_str())
}
