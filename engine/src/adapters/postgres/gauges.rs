//! What the gauges show, read in one statement for operators; no service depends on it.

use std::time::Duration;

use sqlx::Row as _;

use super::Store;
use crate::adapters::telemetry::metrics::Readings;
use crate::domain::records::ParkReason;
use crate::ports::store::StoreError;

/// Counts only: one pass over `position_state`, small tables else; the parked ones have an index of
/// their own.
const READ: &str = "
    SELECT
        (SELECT count(*) FROM position_state WHERE status = 'REPROCESSING'),
        (SELECT count(*) FROM instrument_reprocessing_state),
        (SELECT count(*) FROM portfolio_valuation_jobs),
        (SELECT count(*) FROM outbox_events),
        (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(updated_at)), 0)::float8
            FROM position_state WHERE status = 'REPROCESSING'),
        array(SELECT park_reason FROM position_timeline WHERE park_reason IS NOT NULL
            GROUP BY park_reason ORDER BY park_reason),
        array(SELECT count(*) FROM position_timeline WHERE park_reason IS NOT NULL
            GROUP BY park_reason ORDER BY park_reason)";

impl Store {
    /// Reads what the gauges show.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn readings(&self) -> Result<Readings, StoreError> {
        let mut lease = self.pool.lease().await?;
        let row = self.pool.limited(sqlx::query(READ).fetch_one(lease.connection())).await;
        let row = match row {
            Ok(row) => row,
            Err(failure) => return Err(self.give_up(lease, failure).await),
        };
        self.pool.give_back(lease);
        let count = |column: usize| row.get::<i64, _>(column).unsigned_abs();
        let reasons: Vec<String> = row.get(5);
        let parked = reasons.iter().zip(row.get::<Vec<i64>, _>(6));
        Ok(Readings {
            reprocessing_keys: count(0),
            triggers: count(1),
            valuation_jobs: count(2),
            outbox_events: count(3),
            snapshot_lag: Duration::from_secs_f64(row.get::<f64, _>(4).max(0.0)),
            parked: parked
                .filter_map(|(reason, count)| {
                    Some((ParkReason::parse(reason)?, count.unsigned_abs()))
                })
                .collect(),
        })
    }
}
