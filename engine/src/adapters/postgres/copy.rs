//! Binary COPY of snapshots: the fastest way to write many rows.
//!
//! # Invariants
//! - Fields follow in the order of [`SNAPSHOT_COPY`].

use sqlx::PgConnection;
use sqlx::error::BoxDynError;

use super::columns::snapshot_columns;
use super::numeric;
use super::types::date_bytes;
use crate::domain::money::Amount;
use crate::ports::store::rows::SnapshotRow;

/// What [`copy_snapshots`] runs.
const SNAPSHOT_COPY: &str = concat!(
    "COPY daily_position_snapshots (",
    snapshot_columns!(),
    ") FROM STDIN WITH (FORMAT binary)"
);
const SNAPSHOT_FIELDS: i16 = 14;
/// Bytes of a row, about: four texts and eleven numbers.
const SNAPSHOT_BYTES: usize = 220;
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Sent at once: large enough that a send costs nothing, small enough that the server starts early.
const CHUNK_BYTES: usize = 256 * 1024;

/// Copies snapshots in their order.
pub(super) async fn copy_snapshots(
    connection: &mut PgConnection,
    rows: &[SnapshotRow],
) -> Result<(), sqlx::Error> {
    let mut copy = connection.copy_in_raw(SNAPSHOT_COPY).await?;
    let mut buffer = Vec::with_capacity(CHUNK_BYTES.min(rows.len() * SNAPSHOT_BYTES) + 1024);
    buffer.extend_from_slice(SIGNATURE);
    // No flags, no extension.
    buffer.extend_from_slice(&[0; 8]);
    for row in rows {
        if let Err(error) = put_snapshot(row, &mut buffer) {
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

fn put_snapshot(row: &SnapshotRow, buffer: &mut Vec<u8>) -> Result<(), BoxDynError> {
    buffer.extend_from_slice(&SNAPSHOT_FIELDS.to_be_bytes());
    put(row.key.portfolio_id.as_str().as_bytes(), buffer);
    put(row.key.security_id.as_str().as_bytes(), buffer);
    put(&date_bytes(row.date)?, buffer);
    put(&i32::try_from(row.epoch.0)?.to_be_bytes(), buffer);
    put(&i64::try_from(row.revision.0)?.to_be_bytes(), buffer);
    put_amount(Some(row.position.quantity), buffer);
    put_amount(Some(row.position.cost_basis), buffer);
    put_amount(Some(row.position.cost_basis_local), buffer);
    put_amount(row.market_price, buffer);
    let values = row.values;
    put_amount(values.map(|values| values.market_value), buffer);
    put_amount(values.map(|values| values.market_value_local), buffer);
    put_amount(values.map(|values| values.unrealized_gain_loss), buffer);
    put_amount(values.map(|values| values.unrealized_gain_loss_local), buffer);
    put(row.valuation_status.as_str().as_bytes(), buffer);
    Ok(())
}

fn put(bytes: &[u8], buffer: &mut Vec<u8>) {
    let length = i32::try_from(bytes.len()).expect("a field is shorter than 2 GB");
    buffer.extend_from_slice(&length.to_be_bytes());
    buffer.extend_from_slice(bytes);
}

fn put_amount(amount: Option<Amount>, buffer: &mut Vec<u8>) {
    let Some(amount) = amount else {
        buffer.extend_from_slice(&(-1_i32).to_be_bytes());
        return;
    };
    let at = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    numeric::encode_amount(amount.raw(), buffer);
    let length = i32::try_from(buffer.len() - at - 4).expect("a number is short");
    buffer[at..at + 4].copy_from_slice(&length.to_be_bytes());
}
