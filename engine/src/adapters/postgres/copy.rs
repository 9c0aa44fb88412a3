//! Binary COPY: the fastest way to write many rows.
//!
//! # Invariants
//! - Fields follow in the order of the columns of [`Copied::COPY`].

use sqlx::PgConnection;
use sqlx::error::BoxDynError;

use super::bind::{costs, factors, park_reason};
use super::columns::{
    cashflow_columns, history_columns, lot_columns, portfolio_series_columns,
    position_series_columns, snapshot_columns, timeline_columns, transaction_columns,
};
use super::numeric;
use super::types::{date_bytes, instant_bytes};
use crate::domain::ids::Key;
use crate::domain::money::Amount;
use crate::domain::records::{Outcome, Place, Position, Terms};
use crate::ports::store::rows::{
    CashflowRow, HistoryRow, LotRow, OutboxRow, PortfolioSeriesRow, PositionSeriesRow, SnapshotRow,
    TimelineRow, TransactionRow,
};

/// From so many rows on, a COPY and its two round trips take less time than an INSERT of arrays.
pub(super) const MANY: usize = 100;
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Sent at once: large enough that a send costs nothing, small enough that the server starts early.
const CHUNK_BYTES: usize = 256 * 1024;

/// A row that can be copied.
pub(super) trait Copied {
    /// The statement.
    const COPY: &'static str;
    /// How many fields a row has.
    const FIELDS: i16;

    /// Appends the fields.
    fn put(&self, buffer: &mut Vec<u8>) -> Result<(), BoxDynError>;
}

/// Copies rows in their order.
pub(super) async fn copy<R: Copied>(
    connection: &mut PgConnection,
    rows: &[R],
) -> Result<(), sqlx::Error> {
    let mut copy = connection.copy_in_raw(R::COPY).await?;
    let mut buffer = Vec::with_capacity(CHUNK_BYTES + 1024);
    buffer.extend_from_slice(SIGNATURE);
    // No flags, no extension.
    buffer.extend_from_slice(&[0; 8]);
    for row in rows {
        buffer.extend_from_slice(&R::FIELDS.to_be_bytes());
        if let Err(error) = row.put(&mut buffer) {
            copy.abort("a row cannot be encoded").await?;
            return Err(sqlx::Error::Encode(error));
        }
        if buffer.len() >= CHUNK_BYTES {
            copy.send(buffer.as_slice()).await?;
            buffer.clear();
        }
    }
    buffer.extend_from_slice(&(-1_i16).to_be_bytes());
    copy.send(buffer.as_slice()).await?;
    copy.finish().await?;
    Ok(())
}

/// Copies rows in their order unless one of them is there; whether that was so. If it was not,
/// nothing is written. Needs a transaction around it.
pub(super) async fn copy_new<R: Copied>(
    connection: &mut PgConnection,
    rows: &[R],
) -> Result<bool, sqlx::Error> {
    sqlx::raw_sql("SAVEPOINT copied").execute(&mut *connection).await?;
    let is_new = match copy(connection, rows).await {
        Ok(()) => true,
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            sqlx::raw_sql("ROLLBACK TO copied").execute(&mut *connection).await?;
            false
        }
        Err(error) => return Err(error),
    };
    sqlx::raw_sql("RELEASE copied").execute(connection).await?;
    Ok(is_new)
}

macro_rules! copy_into {
    ($table:literal, $columns:expr) => {
        concat!("COPY ", $table, " (", $columns, ") FROM STDIN WITH (FORMAT binary)")
    };
}

impl Copied for TransactionRow {
    const COPY: &'static str = copy_into!("transactions", transaction_columns!());
    const FIELDS: i16 = 17;

    fn put(&self, buffer: &mut Vec<u8>) -> Result<(), BoxDynError> {
        let transaction = &self.transaction;
        put(transaction.transaction_id.as_str().as_bytes(), buffer);
        put_key(&transaction.key, buffer);
        put(transaction.instrument_id.as_bytes(), buffer);
        put_text(transaction.settlement_date.as_deref(), buffer);
        put(&instant_bytes(transaction.terms.at)?, buffer);
        put_terms(&transaction.terms, buffer);
        put(&self.source_version.to_be_bytes(), buffer);
        put_text(self.correlation_id.as_deref(), buffer);
        Ok(())
    }
}

impl Copied for TimelineRow {
    const COPY: &'static str = copy_into!("position_timeline", timeline_columns!());
    const FIELDS: i16 = 27;

    fn put(&self, buffer: &mut Vec<u8>) -> Result<(), BoxDynError> {
        put_key(&self.key, buffer);
        put_place(&self.place, buffer)?;
        put_terms(&self.terms, buffer);
        put_text(self.correlation_id.as_deref(), buffer);
        put_outcome(self.outcome.as_ref(), buffer);
        Ok(())
    }
}

impl Copied for SnapshotRow {
    const COPY: &'static str = copy_into!("daily_position_snapshots", snapshot_columns!());
    const FIELDS: i16 = 14;

    fn put(&self, buffer: &mut Vec<u8>) -> Result<(), BoxDynError> {
        put_key(&self.key, buffer);
        put(&date_bytes(self.date)?, buffer);
        put(&i32::try_from(self.epoch.0)?.to_be_bytes(), buffer);
        put(&i64::try_from(self.revision.0)?.to_be_bytes(), buffer);
        put_position(&self.position, buffer);
        put_amount(self.market_price, buffer);
        let values = self.values;
        put_amount(values.map(|values| values.market_value), buffer);
        put_amount(values.map(|values| values.market_value_local), buffer);
        put_amount(values.map(|values| values.unrealized_gain_loss), buffer);
        put_amount(values.map(|values| values.unrealized_gain_loss_local), buffer);
        put(self.valuation_status.as_str().as_bytes(), buffer);
        Ok(())
    }
}

impl Copied for HistoryRow {
    const COPY: &'static str = copy_into!("position_history", history_columns!());
    const FIELDS: i16 = 9;

    fn put(&self, buffer: &mut Vec<u8>) -> Result<(), BoxDynError> {
        put_key(&self.key, buffer);
        put_place(&self.place, buffer)?;
        put(&i32::try_from(self.epoch.0)?.to_be_bytes(), buffer);
        put_position(&self.position, buffer);
        Ok(())
    }
}

impl Copied for CashflowRow {
    const COPY: &'static str = copy_into!("cashflows", cashflow_columns!());
    const FIELDS: i16 = 13;

    fn put(&self, buffer: &mut Vec<u8>) -> Result<(), BoxDynError> {
        let flow = &self.cashflow;
        put_key(&self.key, buffer);
        put_place(&self.place, buffer)?;
        put(&i32::try_from(self.epoch.0)?.to_be_bytes(), buffer);
        put(self.kind.as_str().as_bytes(), buffer);
        put_amount(Some(flow.amount), buffer);
        put(flow.currency.as_str().as_bytes(), buffer);
        put(flow.classification.as_str().as_bytes(), buffer);
        put(flow.timing.as_str().as_bytes(), buffer);
        put(&[u8::from(flow.is_position_flow)], buffer);
        put(&[u8::from(flow.is_portfolio_flow)], buffer);
        Ok(())
    }
}

impl Copied for LotRow {
    const COPY: &'static str = copy_into!("position_lots", lot_columns!());
    const FIELDS: i16 = 8;

    fn put(&self, buffer: &mut Vec<u8>) -> Result<(), BoxDynError> {
        put_key(&self.key, buffer);
        put_place(&self.lot.opened, buffer)?;
        for amount in [self.lot.quantity, self.lot.cost, self.lot.cost_local] {
            put_amount(Some(amount), buffer);
        }
        Ok(())
    }
}

impl Copied for PositionSeriesRow {
    const COPY: &'static str = copy_into!("position_timeseries", position_series_columns!());
    const FIELDS: i16 = 16;

    fn put(&self, buffer: &mut Vec<u8>) -> Result<(), BoxDynError> {
        let series = &self.series;
        put_key(&self.key, buffer);
        put(&date_bytes(self.date)?, buffer);
        put(&i32::try_from(self.epoch.0)?.to_be_bytes(), buffer);
        put(&i64::try_from(self.revision.0)?.to_be_bytes(), buffer);
        put(self.currency.as_str().as_bytes(), buffer);
        for amount in [
            self.market_value,
            series.bod_market_value,
            series.bod_cashflow_position,
            series.eod_cashflow_position,
            series.bod_cashflow_portfolio,
            series.eod_cashflow_portfolio,
            series.eod_market_value,
            series.fees,
            series.quantity,
        ] {
            put_amount(Some(amount), buffer);
        }
        put_amount(series.cost, buffer);
        Ok(())
    }
}

impl Copied for PortfolioSeriesRow {
    const COPY: &'static str = copy_into!("portfolio_timeseries", portfolio_series_columns!());
    const FIELDS: i16 = 7;

    fn put(&self, buffer: &mut Vec<u8>) -> Result<(), BoxDynError> {
        let series = &self.series;
        put(self.portfolio_id.as_str().as_bytes(), buffer);
        put(&date_bytes(self.date)?, buffer);
        for amount in [
            series.bod_market_value,
            series.bod_cashflow,
            series.eod_cashflow,
            series.eod_market_value,
            series.fees,
        ] {
            put_amount(Some(amount), buffer);
        }
        Ok(())
    }
}

/// Without the id, which the table draws for each row in turn.
impl Copied for OutboxRow {
    const COPY: &'static str =
        copy_into!("outbox_events", "lane, topic, message_key, payload, correlation_id");
    const FIELDS: i16 = 5;

    fn put(&self, buffer: &mut Vec<u8>) -> Result<(), BoxDynError> {
        put(&i32::try_from(self.lane)?.to_be_bytes(), buffer);
        put(self.topic.as_str().as_bytes(), buffer);
        put(self.key.as_str().as_bytes(), buffer);
        put(self.payload.as_bytes(), buffer);
        put_text(self.correlation_id.as_deref(), buffer);
        Ok(())
    }
}

fn put_key(key: &Key, buffer: &mut Vec<u8>) {
    put(key.portfolio_id.as_str().as_bytes(), buffer);
    put(key.security_id.as_str().as_bytes(), buffer);
}

fn put_place(place: &Place, buffer: &mut Vec<u8>) -> Result<(), BoxDynError> {
    put(&instant_bytes(place.at)?, buffer);
    put(&i16::from(place.rank).to_be_bytes(), buffer);
    put(place.transaction_id.as_str().as_bytes(), buffer);
    Ok(())
}

/// What follows the instant, as in `Bind::terms`.
fn put_terms(terms: &Terms, buffer: &mut Vec<u8>) {
    put(terms.kind.as_str().as_bytes(), buffer);
    for amount in [terms.quantity, terms.price, terms.gross, terms.fee, terms.accrued_interest] {
        put_amount(Some(amount), buffer);
    }
    put_text(terms.policy.as_deref(), buffer);
    put(terms.trade_currency.as_str().as_bytes(), buffer);
    put(terms.currency.as_str().as_bytes(), buffer);
}

/// Fate, rate and costs, as in `Bind::outcomes`.
fn put_outcome(outcome: Option<&Outcome>, buffer: &mut Vec<u8>) {
    let costs = outcome.and_then(costs);
    match outcome {
        Some(_) => put(&[u8::from(costs.is_some())], buffer),
        None => put_null(buffer),
    }
    put_text(outcome.and_then(park_reason), buffer);
    for factor in factors(outcome.and_then(|outcome| outcome.fx.as_ref())) {
        match factor {
            Some(factor) => put_number(buffer, |buffer| numeric::encode_whole(factor, buffer)),
            None => put_null(buffer),
        }
    }
    put_amount(costs.map(|costs| costs.gross_cost), buffer);
    put_amount(costs.map(|costs| costs.net_cost), buffer);
    put_amount(costs.map(|costs| costs.net_cost_local), buffer);
    put_amount(costs.and_then(|costs| costs.realized_gain_loss), buffer);
    put_amount(costs.and_then(|costs| costs.realized_gain_loss_local), buffer);
    put_amount(costs.map(|costs| costs.transaction_fx_rate), buffer);
}

fn put_position(position: &Position, buffer: &mut Vec<u8>) {
    put_amount(Some(position.quantity), buffer);
    put_amount(Some(position.cost_basis), buffer);
    put_amount(Some(position.cost_basis_local), buffer);
}

fn put_null(buffer: &mut Vec<u8>) {
    buffer.extend_from_slice(&(-1_i32).to_be_bytes());
}

fn put(bytes: &[u8], buffer: &mut Vec<u8>) {
    let length = i32::try_from(bytes.len()).expect("a field is shorter than 2 GB");
    buffer.extend_from_slice(&length.to_be_bytes());
    buffer.extend_from_slice(bytes);
}

fn put_text(text: Option<&str>, buffer: &mut Vec<u8>) {
    match text {
        Some(text) => put(text.as_bytes(), buffer),
        None => put_null(buffer),
    }
}

fn put_amount(amount: Option<Amount>, buffer: &mut Vec<u8>) {
    match amount {
        Some(amount) => put_number(buffer, |buffer| numeric::encode_amount(amount.raw(), buffer)),
        None => put_null(buffer),
    }
}

fn put_number(buffer: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>)) {
    let at = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    encode(buffer);
    let length = i32::try_from(buffer.len() - at - 4).expect("a number is short");
    buffer[at..at + 4].copy_from_slice(&length.to_be_bytes());
}
