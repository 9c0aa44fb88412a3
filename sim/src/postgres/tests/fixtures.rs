//! Rows for the tests, as short as possible to write.

use backdate_engine::domain::ids::{Currency, Epoch, Key, Revision, Token, TransactionId};
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::{
    BusinessDate, CostMethod, Costs, ExchangeRate, Fate, GLOBAL_CALENDAR, Instrument, MarketPrice,
    Outcome, ParkReason, Place, Portfolio, Position, Terms, Transaction, TransactionType,
    ValuationStatus,
};
use backdate_engine::domain::time::Date;
use backdate_engine::ports::log::Topic;
use backdate_engine::ports::store::rows::{
    EpochRow, HistoryRow, InstrumentRow, JobKey, OutboxRow, PortfolioRow, PriceRow, RateRow,
    SnapshotRow, TimelineRow, TransactionRow,
};
use backdate_engine::ports::store::statements::{InsertBusinessDates, InsertKeys, NewValuationJob};
use smol_str::SmolStr;

use super::Bench;

pub(super) fn key(portfolio: &str, security: &str) -> Key {
    Key::new(portfolio, security)
}

pub(super) fn date(day: i32) -> Date {
    Date::from_days(20_000 + day)
}

pub(super) fn currency(code: &str) -> Currency {
    Currency::new(code)
}

pub(super) fn position(quantity: i64) -> Position {
    Position { quantity: Amount::from_units(quantity), ..Position::default() }
}

pub(super) fn token(epoch: u32, revision: u64) -> Token {
    Token { epoch: Epoch(epoch), revision: Revision(revision) }
}

pub(super) fn price(security: &str, day: i32, code: &str, units: i64) -> PriceRow {
    PriceRow {
        price: MarketPrice {
            security_id: security.into(),
            price_date: date(day),
            price: Amount::from_units(units),
            currency: currency(code),
        },
        source_version: 0,
    }
}

pub(super) fn rate(from: &str, to: &str, day: i32, units: i64) -> RateRow {
    RateRow {
        rate: ExchangeRate {
            from_currency: currency(from),
            to_currency: currency(to),
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
            base_currency: currency(base),
            open_date: SmolStr::new("2020-01-01"),
            cost_basis_method: CostMethod::Fifo,
        },
        source_version: 0,
    }
}

pub(super) fn instrument(id: &str, code: &str) -> InstrumentRow {
    InstrumentRow {
        instrument: Instrument {
            security_id: id.into(),
            currency: currency(code),
            product_type: SmolStr::new("Equity"),
        },
        source_version: 0,
    }
}

pub(super) fn terms(day: i32, code: &str) -> Terms {
    Terms {
        at: date(day).start(),
        kind: TransactionType::Buy,
        quantity: Amount::ONE,
        price: Amount::ONE,
        gross: Amount::ONE,
        fee: Amount::ZERO,
        accrued_interest: Amount::ZERO,
        policy: None,
        trade_currency: currency(code),
        currency: currency(code),
    }
}

pub(super) fn transaction(id: &str, key: &Key, day: i32, code: &str) -> TransactionRow {
    TransactionRow {
        transaction: Transaction {
            transaction_id: id.into(),
            key: key.clone(),
            instrument_id: SmolStr::new("I"),
            settlement_date: None,
            terms: terms(day, code),
        },
        source_version: 0,
        correlation_id: None,
    }
}

pub(super) fn place(id: &str, day: i32) -> Place {
    Place::of(&TransactionId::new(id), &terms(day, "EUR"))
}

pub(super) fn parked() -> Option<Outcome> {
    Some(Outcome { fx: None, fate: Fate::Parked(ParkReason::NoFx) })
}

pub(super) fn applied() -> Option<Outcome> {
    let costs = Costs {
        gross_cost: Amount::ONE,
        net_cost: Amount::ONE,
        net_cost_local: Amount::ONE,
        realized_gain_loss: None,
        realized_gain_loss_local: None,
        transaction_fx_rate: Amount::ONE,
    };
    Some(Outcome { fx: None, fate: Fate::Applied(costs) })
}

pub(super) fn timeline(key: &Key, id: &str, day: i32, outcome: Option<Outcome>) -> TimelineRow {
    TimelineRow {
        key: key.clone(),
        place: place(id, day),
        terms: terms(day, "EUR"),
        correlation_id: None,
        outcome,
    }
}

pub(super) fn history(key: &Key, id: &str, day: i32, epoch: u32, quantity: i64) -> HistoryRow {
    HistoryRow {
        key: key.clone(),
        place: place(id, day),
        epoch: Epoch(epoch),
        position: position(quantity),
    }
}

pub(super) fn epoch(key: &Key, number: u32, from_day: i32) -> EpochRow {
    EpochRow { key: key.clone(), epoch: Epoch(number), from_date: date(from_day) }
}

pub(super) fn snapshot(key: &Key, day: i32, epoch: u32, revision: u64) -> SnapshotRow {
    SnapshotRow {
        key: key.clone(),
        date: date(day),
        epoch: Epoch(epoch),
        revision: Revision(revision),
        position: position(1),
        market_price: None,
        values: None,
        valuation_status: ValuationStatus::Unvalued,
    }
}

pub(super) fn event(lane: u32, payload: &str) -> OutboxRow {
    OutboxRow {
        id: 0,
        lane,
        topic: Topic::ValuationRequired,
        key: SmolStr::new("P"),
        payload: payload.to_owned(),
        correlation_id: None,
    }
}

pub(super) fn job(keys: &[(&Key, u32, u64)], from: i32, to: i32) -> NewValuationJob {
    let held = |(key, epoch, revision): &(&Key, u32, u64)| JobKey {
        key: (*key).clone(),
        token: token(*epoch, *revision),
    };
    NewValuationJob {
        keys: keys.iter().map(held).collect(),
        date_from: date(from),
        date_to: date(to),
    }
}

pub(super) fn business_date(day: i32) -> BusinessDate {
    BusinessDate { calendar_code: SmolStr::new(GLOBAL_CALENDAR), business_date: date(day) }
}

impl Bench {
    pub(super) async fn add_keys(&self, keys: &[&Key]) {
        let keys = keys.iter().map(|key| ((*key).clone(), date(1))).collect();
        self.run(InsertKeys { keys }).await;
    }

    pub(super) async fn add_business_dates(&self, days: impl IntoIterator<Item = i32>) {
        let rows = days.into_iter().map(business_date).collect();
        self.run(InsertBusinessDates { rows }).await;
    }
}
