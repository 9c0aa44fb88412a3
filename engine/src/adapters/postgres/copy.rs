//! Binary COPY: the fastest way to write many rows.
//!
//! # Invariants
//! - Fields follow in the order of the columns of [`Copied::COPY`].

use sqlx::PgConnection;
use sqlx::error::BoxDynError;

use super::columns::{history_columns, snapshot_columns};
use super::numeric;
use super::types::{date_bytes, instant_bytes};
use crate::domain::money::Amount;
use crate::domain::records::Position;
use crate::ports::store::rows::{HistoryRow, OutboxRow, SnapshotRow};

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

macro_rules! copy_into {
    ($table:literal, $columns:expr) => {
        concat!("COPY ", $table, " (", $columns, ") FROM STDIN WITH (FORMAT binary)")
    };
}

impl Copied for SnapshotRow {
    const COPY: &'static str = copy_into!("daily_position_snapshots", snapshot_columns!());
    const FIELDS: i16 = 14;

    fn put(&self, buffer: &mut Vec<u8>) -> Result<(), BoxDynError> {
        put(self.key.portfolio_id.as_str().as_bytes(), buffer);
        put(self.key.security_id.as_str().as_bytes(), buffer);
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
        put(self.key.portfolio_id.as_str().as_bytes(), buffer);
        put(self.key.security_id.as_str().as_bytes(), buffer);
        put(&instant_bytes(self.place.at)?, buffer);
        put(&i16::from(self.place.rank).to_be_bytes(), buffer);
        put(self.place.transaction_id.as_str().as_bytes(), buffer);
        put(&i32::try_from(self.epoch.0)?.to_be_bytes(), buffer);
        put_position(&self.position, buffer);
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
        match &self.correlation_id {
            Some(id) => put(id.as_bytes(), buffer),
            None => put_null(buffer),
        }
        Ok(())
    }
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

fn put_amount(amount: Option<Amount>, buffer: &mut Vec<u8>) {
    let Some(amount) = amount else { return put_null(buffer) };
    let at = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    numeric::encode_amount(amount.raw(), buffer);
    let length = i32::try_from(buffer.len() - at - 4).expect("a number is short");
    buffer[at..at + 4].copy_from_slice(&length.to_be_bytes());
}
