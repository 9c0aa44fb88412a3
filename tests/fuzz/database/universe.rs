//! What statements are made of: a universe so small that sessions meet all the time.

use backdate_engine::domain::ids::{Currency, Epoch, Key, PortfolioId, Revision, Token};
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::{
    BusinessDate, CostMethod, Costs, ExchangeRate, Fate, FoldTerms, Instrument, KeyStatus, Lot,
    MarketPrice, Outcome, ParkReason, Place, Portfolio,
};
use backdate_engine::domain::time::{Date, Timestamp};
use backdate_engine::ports::store::rows::{
    CashflowRow, EpochRow, HistoryRow, InstrumentRow, JobKey, KeyState, LotRow, PortfolioRow,
    PortfolioSeriesRow, PositionSeriesRow, PriceRow, RateRow, ReplayRow, SnapshotRow, Subject,
    TimelineRow, TransactionRow, TriggerRow,
};
use backdate_engine::ports::store::statements::*;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use smol_str::SmolStr;

use crate::contract::fixtures::{
    cashflow, date, event, history, place, portfolio_series, position, position_series, snapshot,
    terms,
};

/// A source of choices.
pub(super) type Rng = ChaCha8Rng;

pub(super) const PORTFOLIOS: [&str; 2] = ["P1", "P2"];
pub(super) const SECURITIES: [&str; 2] = ["S1", "S2"];
pub(super) const CURRENCIES: [&str; 3] = ["EUR", "USD", "CHF"];
/// Transactions; the number is the day.
pub(super) const IDS: [&str; 4] = ["T1", "T2", "T3", "T4"];
/// Dates are day 1 to this one.
pub(super) const DAYS: i32 = 5;
/// Lanes of the outbox.
pub(super) const LANES: u32 = 2;
/// The three keys.
pub(super) fn keys() -> Vec<Key> {
    vec![Key::new("P1", "S1"), Key::new("P1", "S2"), Key::new("P2", "S1")]
}

pub(super) fn one<T: Clone>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.random_range(0..of.len())].clone()
}

/// Some of them, at least one, in their order.
pub(super) fn some<T>(rng: &mut Rng, of: Vec<T>) -> Vec<T> {
    let kept = rng.random_range(0..of.len());
    let chosen = of.into_iter().enumerate();
    chosen.filter(|(n, _)| *n == kept || rng.random_bool(0.4)).map(|(_, item)| item).collect()
}

pub(super) fn maybe<T>(rng: &mut Rng, make: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    rng.random_bool(0.5).then(|| make(rng))
}

pub(super) fn day(rng: &mut Rng) -> Date {
    date(rng.random_range(1..=DAYS))
}

pub(super) fn days(rng: &mut Rng) -> Vec<i32> {
    some(rng, (1..=DAYS).collect())
}

pub(super) fn range(rng: &mut Rng) -> (Date, Date) {
    let from = rng.random_range(0..=DAYS);
    (date(from), date(rng.random_range(from..=DAYS)))
}

pub(super) fn after(rng: &mut Rng) -> Option<Key> {
    maybe(rng, |rng| one(rng, &keys()))
}

pub(super) fn epoch(rng: &mut Rng) -> Epoch {
    Epoch(rng.random_range(0..3))
}

pub(super) fn token(rng: &mut Rng) -> Token {
    Token { epoch: epoch(rng), revision: Revision(rng.random_range(0..2)) }
}

pub(super) fn amount(rng: &mut Rng) -> Amount {
    Amount::from_units(rng.random_range(1..100))
}

pub(super) fn version(rng: &mut Rng) -> i64 {
    rng.random_range(0..3)
}

pub(super) fn currency(rng: &mut Rng) -> Currency {
    one(rng, &CURRENCIES).into()
}

pub(super) fn portfolio(rng: &mut Rng) -> backdate_engine::domain::ids::PortfolioId {
    one(rng, &PORTFOLIOS).into()
}

pub(super) fn securities(rng: &mut Rng) -> Vec<backdate_engine::domain::ids::SecurityId> {
    some(rng, SECURITIES.map(Into::into).into())
}

pub(super) fn calendar(rng: &mut Rng) -> SmolStr {
    SmolStr::new(if rng.random_bool(0.7) { "GLOBAL" } else { "LOCAL" })
}

pub(super) fn numbers(rng: &mut Rng) -> Vec<u64> {
    some(rng, (1..6).collect())
}

pub(super) fn key_state(rng: &mut Rng, key: Key) -> KeyState {
    KeyState {
        key,
        epoch: epoch(rng),
        revision: Revision(rng.random_range(0..2)),
        watermark_date: day(rng),
        valued_through: maybe(rng, day),
        status: one(rng, KeyStatus::ALL),
        served_epoch: epoch(rng),
        input_version: rng.random_range(0..9),
        fold_terms: maybe(rng, |rng| FoldTerms {
            base_currency: currency(rng),
            method: one(rng, CostMethod::ALL),
        }),
        position: position(rng.random_range(-9..9)),
        updated_at: Timestamp::from_micros(0),
    }
}

pub(super) fn any_key_state(rng: &mut Rng) -> KeyState {
    let key = one(rng, &keys());
    key_state(rng, key)
}

pub(super) fn query(rng: &mut Rng, key: Key) -> ProgressQuery {
    let Token { epoch, revision } = token(rng);
    ProgressQuery { key, epoch, revision, watermark_date: date(rng.random_range(0..DAYS)) }
}

pub(super) fn ids(rng: &mut Rng) -> Vec<backdate_engine::domain::ids::TransactionId> {
    some(rng, IDS.map(Into::into).into())
}

pub(super) fn transactions(rng: &mut Rng) -> Vec<TransactionRow> {
    let row = |id: &str, rng: &mut Rng| {
        let key = one(rng, &keys());
        let mut row = crate::contract::fixtures::transaction(id, &key, 1);
        row.transaction.terms.gross = amount(rng);
        row.transaction.terms.trade_currency = currency(rng);
        row.source_version = version(rng);
        row
    };
    some(rng, IDS.into()).into_iter().map(|id| row(id, rng)).collect()
}

pub(super) fn price_ids(rng: &mut Rng) -> Vec<(backdate_engine::domain::ids::SecurityId, Date)> {
    prices(rng).into_iter().map(|row| (row.price.security_id, row.price.price_date)).collect()
}

pub(super) fn prices(rng: &mut Rng) -> Vec<PriceRow> {
    let mut rows = Vec::new();
    for security_id in securities(rng) {
        for day in some(rng, vec![1, 2, 3]) {
            rows.push(PriceRow {
                price: MarketPrice {
                    security_id: security_id.clone(),
                    price_date: date(day),
                    price: amount(rng),
                    currency: currency(rng),
                },
                source_version: version(rng),
            });
        }
    }
    rows
}

pub(super) fn events(rng: &mut Rng) -> Vec<backdate_engine::ports::store::rows::OutboxRow> {
    let count = rng.random_range(1..3);
    (0..count).map(|n| event(rng.random_range(0..LANES), &format!("event {n}"))).collect()
}

pub(super) fn subject(rng: &mut Rng) -> Subject {
    one(rng, &subjects())
}

/// In their order.
pub(super) fn subjects() -> Vec<Subject> {
    vec![
        Subject::Security("S1".into()),
        Subject::Security("S2".into()),
        Subject::Pair("EUR".into(), "USD".into()),
        Subject::Pair("USD".into(), "CHF".into()),
        Subject::Calendar,
        Subject::Portfolio("P1".into()),
    ]
}

pub(super) fn triggers(rng: &mut Rng) -> Vec<TriggerRow> {
    let rows = some(rng, subjects());
    rows.into_iter().map(|subject| TriggerRow { subject, earliest_date: day(rng) }).collect()
}

pub(super) fn day_of(id: &str) -> i32 {
    id[1..].parse().expect("a letter and a number")
}

pub(super) fn any_place(rng: &mut Rng) -> Place {
    let id = one(rng, &IDS);
    place(id, day_of(id))
}

/// Keys and places in order, each once.
pub(super) fn places(rng: &mut Rng) -> Vec<(Key, Place)> {
    let mut places = Vec::new();
    for key in some(rng, keys()) {
        for id in some(rng, IDS.into()) {
            places.push((key.clone(), place(id, day_of(id))));
        }
    }
    places
}

pub(super) fn timeline(rng: &mut Rng) -> Vec<TimelineRow> {
    let row = |(key, place): (Key, Place), rng: &mut Rng| TimelineRow {
        key,
        terms: terms(day_of(place.transaction_id.as_str()), one(rng, &CURRENCIES)),
        place,
        correlation_id: maybe(rng, |_| SmolStr::new("c")),
        outcome: maybe(rng, outcome),
    };
    places(rng).into_iter().map(|at| row(at, rng)).collect()
}

pub(super) fn outcome(rng: &mut Rng) -> Outcome {
    let parked = Fate::Parked(one(rng, ParkReason::ALL));
    let costs = Costs {
        gross_cost: amount(rng),
        net_cost: amount(rng),
        net_cost_local: amount(rng),
        realized_gain_loss: maybe(rng, amount),
        realized_gain_loss_local: maybe(rng, amount),
        transaction_fx_rate: Amount::ONE,
    };
    let fate = if rng.random_bool(0.5) { parked } else { Fate::Applied(costs) };
    Outcome { fx: None, fate }
}

pub(super) fn cashflows(rng: &mut Rng) -> Vec<CashflowRow> {
    let flows = histories(rng).into_iter();
    flows.map(|row| cashflow(&row.key, &row.place, row.epoch)).collect()
}

pub(super) fn histories(rng: &mut Rng) -> Vec<HistoryRow> {
    let epoch = epoch(rng);
    let row = |(key, place): (Key, Place), rng: &mut Rng| {
        let id = place.transaction_id;
        history(&key, id.as_str(), day_of(id.as_str()), epoch.0, rng.random_range(1..9))
    };
    places(rng).into_iter().map(|at| row(at, rng)).collect()
}

pub(super) fn lots(rng: &mut Rng) -> Vec<LotRow> {
    let row = |(key, opened): (Key, Place), rng: &mut Rng| LotRow {
        key,
        lot: Lot { opened, quantity: amount(rng), cost: amount(rng), cost_local: amount(rng) },
    };
    places(rng).into_iter().map(|at| row(at, rng)).collect()
}

pub(super) fn epochs(rng: &mut Rng) -> Vec<EpochRow> {
    let mut rows = Vec::new();
    for key in some(rng, keys()) {
        let mut newest = None;
        for epoch in some(rng, vec![Epoch(1), Epoch(2)]) {
            newest = Some(EpochRow { key: key.clone(), epoch, from_date: day(rng) });
        }
        rows.extend(newest);
    }
    rows
}

pub(super) fn replay(rng: &mut Rng, key: Key) -> ReplayRow {
    ReplayRow { key, epoch: epoch(rng), from_date: day(rng), cursor: maybe(rng, any_place) }
}

pub(super) fn jobs(rng: &mut Rng) -> Vec<NewValuationJob> {
    let job = |rng: &mut Rng| {
        let (date_from, date_to) = range(rng);
        let keys = some(rng, keys()).into_iter().map(|key| JobKey { key, token: token(rng) });
        NewValuationJob { keys: keys.collect(), date_from, date_to }
    };
    (0..rng.random_range(1..3)).map(|_| job(rng)).collect()
}

pub(super) fn key_ranges(rng: &mut Rng) -> Vec<(Key, Epoch, Date, Date)> {
    let ranged = |key| {
        let (from, to) = range(rng);
        (key, epoch(rng), from, to.max(from))
    };
    let keys = keys();
    keys.into_iter().map(ranged).collect()
}

pub(super) fn portfolio_ranges(rng: &mut Rng) -> Vec<(PortfolioId, Date, Date)> {
    let ranged = |id: &str| {
        let (from, to) = range(rng);
        (id.into(), from, to.max(from))
    };
    PORTFOLIOS.into_iter().map(ranged).collect()
}

pub(super) fn series(rng: &mut Rng) -> Vec<PositionSeriesRow> {
    let rows = snapshots(rng).into_iter();
    rows.map(|row| position_series(&row.key, row.date, row.epoch, row.revision)).collect()
}

pub(super) fn sums(rng: &mut Rng) -> Vec<PortfolioSeriesRow> {
    let units = rng.random_range(0..9);
    vec![portfolio_series(one(rng, &PORTFOLIOS), day(rng), units)]
}

pub(super) fn snapshots(rng: &mut Rng) -> Vec<SnapshotRow> {
    let Token { epoch, revision } = token(rng);
    let mut rows = Vec::new();
    for key in some(rng, keys()) {
        rows.extend(days(rng).into_iter().map(|day| snapshot(&key, day, epoch.0, revision.0)));
    }
    rows
}

pub(super) fn rate_rows(rng: &mut Rng) -> Vec<RateRow> {
    let row = |(from, to, day): (&str, &str, i32), rng: &mut Rng| RateRow {
        rate: ExchangeRate {
            from_currency: from.into(),
            to_currency: to.into(),
            rate_date: date(day),
            rate: amount(rng),
        },
        source_version: version(rng),
    };
    let all = vec![("EUR", "USD", 1), ("EUR", "USD", 2), ("USD", "CHF", 1), ("USD", "CHF", 3)];
    some(rng, all).into_iter().map(|id| row(id, rng)).collect()
}

pub(super) fn rate_id(row: &RateRow) -> (Currency, Currency, Date) {
    let rate = &row.rate;
    (rate.from_currency.clone(), rate.to_currency.clone(), rate.rate_date)
}

pub(super) fn portfolios(rng: &mut Rng) -> Vec<PortfolioRow> {
    let row = |id: &str, rng: &mut Rng| PortfolioRow {
        portfolio: Portfolio {
            portfolio_id: id.into(),
            base_currency: currency(rng),
            open_date: SmolStr::new("2020-01-01"),
            cost_basis_method: one(rng, CostMethod::ALL),
        },
        source_version: version(rng),
    };
    some(rng, PORTFOLIOS.into()).into_iter().map(|id| row(id, rng)).collect()
}

pub(super) fn instruments(rng: &mut Rng) -> Vec<InstrumentRow> {
    let row = |security_id, rng: &mut Rng| InstrumentRow {
        instrument: Instrument {
            security_id,
            currency: currency(rng),
            product_type: SmolStr::new("Equity"),
        },
        source_version: version(rng),
    };
    securities(rng).into_iter().map(|id| row(id, rng)).collect()
}

pub(super) fn business_dates(rng: &mut Rng) -> Vec<BusinessDate> {
    let calendar_code = calendar(rng);
    let row = |day| BusinessDate { calendar_code: calendar_code.clone(), business_date: date(day) };
    days(rng).into_iter().map(row).collect()
}
