//! Rows for the tests: each field has a value of its own, so that no two columns can be confused.

use backdate_engine::domain::ids::{Currency, Epoch, Key, Revision, Token, TransactionId};
use backdate_engine::domain::money::{Amount, FxRate};
use backdate_engine::domain::records::{
    BusinessDate, CostMethod, Costs, ExchangeRate, Fate, FoldTerms, GLOBAL_CALENDAR, Instrument,
    KeyStatus, Lot, MarketPrice, Outcome, ParkReason, Place, Portfolio, Position, Terms,
    Transaction, TransactionType, ValuationStatus, Values,
};
use backdate_engine::domain::time::{Date, Timestamp};
use backdate_engine::ports::log::Topic;
use backdate_engine::ports::store::rows::{
    EpochRow, HistoryRow, InstrumentRow, JobKey, KeyState, LotRow, OutboxRow, PortfolioRow,
    PriceRow, RateRow, ReplayRow, SnapshotRow, TimelineRow, TransactionRow,
};
use backdate_engine::ports::store::statements::{InsertBusinessDates, InsertKeys, NewValuationJob};

use super::Bench;

pub(super) fn key(portfolio: &str, security: &str) -> Key {
    Key::new(portfolio, security)
}

/// A day of the tests' time.
pub(super) fn date(day: i32) -> Date {
    Date::from_days(20_000 + day)
}

pub(super) fn amount(text: &str) -> Amount {
    Amount::parse(text).expect("a number")
}

pub(super) fn token(epoch: u32, revision: u64) -> Token {
    Token { epoch: Epoch(epoch), revision: Revision(revision) }
}

pub(super) fn position(units: i64) -> Position {
    let quantity = Amount::from_units(units);
    Position {
        quantity,
        cost_basis: -quantity - amount("0.0000000001"),
        cost_basis_local: quantity + amount("123456789012345678.9"),
    }
}

pub(super) fn price(security: &str, day: i32, units: i64) -> PriceRow {
    PriceRow {
        price: MarketPrice {
            security_id: security.into(),
            price_date: date(day),
            price: Amount::from_units(units),
            currency: Currency::new("USD"),
        },
        source_version: 0,
    }
}

pub(super) fn rate(from: &str, to: &str, day: i32, units: i64) -> RateRow {
    RateRow {
        rate: ExchangeRate {
            from_currency: from.into(),
            to_currency: to.into(),
            rate_date: date(day),
            rate: Amount::from_units(units),
        },
        source_version: 0,
    }
}

pub(super) fn portfolio(id: &str, base: &str) -> PortfolioRow {
    PortfolioRow {
        portfolio: Portfolio {
            portfolio_id: id.into(),
            base_currency: base.into(),
            open_date: "sometime".into(),
            cost_basis_method: CostMethod::Avco,
        },
        source_version: 3,
    }
}

pub(super) fn instrument(id: &str, currency: &str) -> InstrumentRow {
    InstrumentRow {
        instrument: Instrument {
            security_id: id.into(),
            currency: currency.into(),
            product_type: "Equity".into(),
        },
        source_version: 4,
    }
}

pub(super) fn terms(at: Timestamp) -> Terms {
    Terms {
        at,
        kind: TransactionType::TransferOut,
        quantity: amount("1.5"),
        price: amount("20.25"),
        gross: amount("999999999999.9999999999"),
        fee: amount("0.0001"),
        accrued_interest: amount("-10000"),
        policy: Some("POLICY".into()),
        trade_currency: "CHF".into(),
        currency: "NOK".into(),
    }
}

pub(super) fn transaction(id: &str, key: &Key, day: i32) -> TransactionRow {
    TransactionRow {
        transaction: Transaction {
            transaction_id: id.into(),
            key: key.clone(),
            instrument_id: "I".into(),
            settlement_date: Some("2025-01-03".into()),
            terms: terms(Timestamp::from_micros(date(day).start().micros() + 1)),
        },
        source_version: -5,
        correlation_id: Some("corr".into()),
    }
}

/// A place in the middle of a day.
pub(super) fn place(id: &str, day: i32) -> Place {
    let at = Timestamp::from_micros(date(day).start().micros() + 43_200_000_001);
    Place { at, rank: 1, transaction_id: TransactionId::new(id) }
}

pub(super) fn costs() -> Costs {
    Costs {
        gross_cost: amount("1.1"),
        net_cost: amount("2.2"),
        net_cost_local: amount("3.3"),
        realized_gain_loss: Some(amount("-4.4")),
        realized_gain_loss_local: None,
        transaction_fx_rate: amount("0.9"),
    }
}

pub(super) fn applied() -> Option<Outcome> {
    let fx = FxRate::cross(FxRate::inverse(amount("1.1")), FxRate::direct(amount("0.7")));
    Some(Outcome { fx: Some(fx), fate: Fate::Applied(costs()) })
}

pub(super) fn parked(reason: ParkReason) -> Option<Outcome> {
    Some(Outcome { fx: None, fate: Fate::Parked(reason) })
}

pub(super) fn timeline(key: &Key, id: &str, day: i32, outcome: Option<Outcome>) -> TimelineRow {
    let place = place(id, day);
    let terms = terms(place.at);
    TimelineRow { key: key.clone(), place, terms, correlation_id: Some("c".into()), outcome }
}

pub(super) fn history(key: &Key, id: &str, day: i32, epoch: u32, units: i64) -> HistoryRow {
    HistoryRow {
        key: key.clone(),
        place: place(id, day),
        epoch: Epoch(epoch),
        position: position(units),
    }
}

pub(super) fn lot(key: &Key, id: &str, day: i32) -> LotRow {
    let lot = Lot {
        opened: place(id, day),
        quantity: amount("1"),
        cost: amount("2"),
        cost_local: amount("3"),
    };
    LotRow { key: key.clone(), lot }
}

pub(super) fn epoch(key: &Key, number: u32, from_day: i32) -> EpochRow {
    EpochRow { key: key.clone(), epoch: Epoch(number), from_date: date(from_day) }
}

pub(super) fn replay(key: &Key, cursor: Option<Place>) -> ReplayRow {
    ReplayRow { key: key.clone(), epoch: Epoch(7), from_date: date(3), cursor }
}

pub(super) fn snapshot(key: &Key, day: i32, epoch: u32, revision: u64) -> SnapshotRow {
    SnapshotRow {
        key: key.clone(),
        date: date(day),
        epoch: Epoch(epoch),
        revision: Revision(revision),
        position: position(1),
        market_price: Some(amount("17.5")),
        values: Some(Values {
            market_value: amount("1"),
            market_value_local: amount("2"),
            unrealized_gain_loss: amount("-3"),
            unrealized_gain_loss_local: amount("-4"),
        }),
        valuation_status: ValuationStatus::ValuedStale,
    }
}

pub(super) fn state(key: &Key) -> KeyState {
    KeyState {
        key: key.clone(),
        epoch: Epoch(2),
        revision: Revision(9),
        watermark_date: date(5),
        valued_through: Some(date(6)),
        status: KeyStatus::Reprocessing,
        served_epoch: Epoch(1),
        input_version: 11,
        fold_terms: Some(FoldTerms { base_currency: "SEK".into(), method: CostMethod::Avco }),
        position: position(4),
        updated_at: Timestamp::from_micros(0),
    }
}

pub(super) fn event(lane: u32, payload: &str) -> OutboxRow {
    OutboxRow {
        id: 0,
        lane,
        topic: Topic::ValuationRequired,
        key: "P".into(),
        payload: payload.to_owned(),
        correlation_id: None,
    }
}

pub(super) fn held(key: &Key, epoch: u32, revision: u64) -> JobKey {
    JobKey { key: key.clone(), token: token(epoch, revision) }
}

pub(super) fn job(keys: &[JobKey], from: i32, to: i32) -> NewValuationJob {
    NewValuationJob { keys: keys.to_vec(), date_from: date(from), date_to: date(to) }
}

pub(super) fn business_date(day: i32) -> BusinessDate {
    BusinessDate { calendar_code: GLOBAL_CALENDAR.into(), business_date: date(day) }
}

impl Bench {
    /// Makes keys whose first stored transaction is of day 1.
    pub(super) async fn add_keys(&self, keys: &[&Key]) {
        let keys = keys.iter().map(|key| ((*key).clone(), date(1))).collect();
        self.run(InsertKeys { keys }).await;
    }

    /// Adds days of the calendar that counts.
    pub(super) async fn add_business_dates(&self, days: impl IntoIterator<Item = i32>) {
        let rows = days.into_iter().map(business_date).collect();
        self.run(InsertBusinessDates { rows }).await;
    }
}
