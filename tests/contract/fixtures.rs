//! Rows for the bodies, as short as possible to write.

use backdate_engine::domain::ids::{Currency, Epoch, Key, Revision, Token, TransactionId};
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::{
    BusinessDate, GLOBAL_CALENDAR, MarketPrice, Place, Position, Terms, Transaction,
    TransactionType, ValuationStatus,
};
use backdate_engine::domain::records::{Cashflow, Classification, Timing};
use backdate_engine::domain::records::{PortfolioSeries, PositionSeries};
use backdate_engine::domain::time::Date;
use backdate_engine::ports::log::Topic;
use backdate_engine::ports::store::rows::{
    CashflowRow, HistoryRow, JobKey, OutboxRow, PortfolioSeriesRow, PositionSeriesRow, PriceRow,
    SnapshotRow, TransactionRow,
};
use backdate_engine::ports::store::statements::{LockKeys, NewValuationJob};
use smol_str::SmolStr;

pub(crate) fn key(portfolio: &str, security: &str) -> Key {
    Key::new(portfolio, security)
}

/// Day 0 is 2024-10-04.
pub(crate) fn date(day: i32) -> Date {
    Date::from_days(20_000 + day)
}

pub(crate) fn price(security: &str, day: i32, units: i64, source_version: i64) -> PriceRow {
    PriceRow {
        price: MarketPrice {
            security_id: security.into(),
            price_date: date(day),
            price: Amount::from_units(units),
            currency: Currency::new("EUR"),
        },
        source_version,
    }
}

pub(crate) fn terms(day: i32, code: &str) -> Terms {
    Terms {
        at: date(day).start(),
        kind: TransactionType::Buy,
        quantity: Amount::ONE,
        price: Amount::ONE,
        gross: Amount::ONE,
        fee: Amount::ZERO,
        accrued_interest: Amount::ZERO,
        policy: None,
        trade_currency: Currency::new(code),
        currency: Currency::new(code),
    }
}

pub(crate) fn transaction(id: &str, key: &Key, day: i32) -> TransactionRow {
    TransactionRow {
        transaction: Transaction {
            transaction_id: id.into(),
            key: key.clone(),
            instrument_id: SmolStr::new("I"),
            settlement_date: None,
            terms: terms(day, "EUR"),
        },
        source_version: 0,
        correlation_id: None,
    }
}

pub(crate) fn place(id: &str, day: i32) -> Place {
    Place::of(&TransactionId::new(id), &terms(day, "EUR"))
}

pub(crate) fn position(quantity: i64) -> Position {
    Position { quantity: Amount::from_units(quantity), ..Position::default() }
}

pub(crate) fn history(key: &Key, id: &str, day: i32, epoch: u32, quantity: i64) -> HistoryRow {
    HistoryRow {
        key: key.clone(),
        place: place(id, day),
        epoch: Epoch(epoch),
        position: position(quantity),
    }
}

/// The flow of a purchase at that place.
pub(crate) fn cashflow(key: &Key, place: &Place, epoch: Epoch) -> CashflowRow {
    CashflowRow {
        key: key.clone(),
        place: place.clone(),
        epoch,
        kind: TransactionType::Buy,
        cashflow: Cashflow {
            amount: -Amount::ONE,
            currency: Currency::eur(),
            classification: Classification::InvestmentOutflow,
            timing: Timing::Bod,
            is_position_flow: true,
            is_portfolio_flow: false,
        },
    }
}

pub(crate) fn snapshot(key: &Key, day: i32, epoch: u32, revision: u64) -> SnapshotRow {
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

/// A row that is worth one more than its day.
pub(crate) fn position_series(
    key: &Key,
    date: Date,
    epoch: Epoch,
    revision: Revision,
) -> PositionSeriesRow {
    let value = Amount::from_units(i64::from(date.days() - 19_999));
    PositionSeriesRow {
        key: key.clone(),
        date,
        epoch,
        revision,
        currency: Currency::eur(),
        market_value: value,
        series: PositionSeries {
            eod_market_value: value,
            bod_cashflow_portfolio: Amount::ONE,
            fees: Amount::from_raw(1),
            ..PositionSeries::default()
        },
    }
}

pub(crate) fn portfolio_series(id: &str, date: Date, units: i64) -> PortfolioSeriesRow {
    let eod_market_value = Amount::from_units(units);
    let series = PortfolioSeries { eod_market_value, ..PortfolioSeries::default() };
    PortfolioSeriesRow { portfolio_id: id.into(), date, series }
}

pub(crate) fn event(lane: u32, payload: &str) -> OutboxRow {
    OutboxRow {
        id: 0,
        lane,
        topic: Topic::ValuationRequired,
        key: SmolStr::new("P"),
        payload: payload.to_owned(),
        correlation_id: None,
    }
}

pub(crate) fn job(keys: &[(&Key, u32, u64)], from: i32, to: i32) -> NewValuationJob {
    let held = |(key, epoch, revision): &(&Key, u32, u64)| JobKey {
        key: (*key).clone(),
        token: Token { epoch: Epoch(*epoch), revision: Revision(*revision) },
    };
    NewValuationJob {
        keys: keys.iter().map(held).collect(),
        date_from: date(from),
        date_to: date(to),
    }
}

pub(crate) fn business_date(day: i32) -> BusinessDate {
    BusinessDate { calendar_code: SmolStr::new(GLOBAL_CALENDAR), business_date: date(day) }
}

pub(crate) fn lock_keys(keys: &[&Key]) -> LockKeys {
    LockKeys { keys: keys.iter().map(|key| (*key).clone()).collect(), skip_locked: false }
}
