//! What an operator asks at three in the morning: where is a key, what does it wait for, and what
//! waits for it.

pub mod lineage;
pub mod overview;
pub mod stuck;
pub mod valuation_jobs;

use serde::{Deserialize, Serialize};

use crate::domain::ids::{Epoch, PortfolioId, Revision, SecurityId, TransactionId};
use crate::domain::money::Amount;
use crate::domain::records::{KeyStatus, Place};
use crate::domain::time::{Date, Timestamp};
use crate::ports::store::rows::{JobStatus, KeyState, ReplayRow, ValuationJobRow};

/// Token, watermark and status of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    /// The portfolio.
    pub portfolio_id: PortfolioId,
    /// The security.
    pub security_id: SecurityId,
    /// Version of the newest history.
    pub epoch: Epoch,
    /// Number of invalidations.
    pub revision: Revision,
    /// The version that readers see.
    pub served_epoch: Epoch,
    /// Reprocessing or current.
    pub status: KeyStatus,
    /// Up to here every business date is valued.
    pub watermark_date: Date,
    /// Latest date that any snapshot covers.
    pub valued_through: Option<Date>,
    /// Units after the last folded transaction.
    pub quantity: Amount,
    /// Time of the last change.
    pub updated_at: Timestamp,
}

impl KeyView {
    fn of(state: KeyState) -> Self {
        Self {
            portfolio_id: state.key.portfolio_id,
            security_id: state.key.security_id,
            epoch: state.epoch,
            revision: state.revision,
            served_epoch: state.served_epoch,
            status: state.status,
            watermark_date: state.watermark_date,
            valued_through: state.valued_through,
            quantity: state.position.quantity,
            updated_at: state.updated_at,
        }
    }
}

/// An open rebuild of a key's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayView {
    /// The version that it builds.
    pub epoch: Epoch,
    /// First date whose rows are rebuilt.
    pub from_date: Date,
    /// Last place folded; none before the first chunk.
    pub cursor: Option<PlaceView>,
}

impl ReplayView {
    fn of(row: ReplayRow) -> Self {
        let cursor = row.cursor.map(PlaceView::of);
        Self { epoch: row.epoch, from_date: row.from_date, cursor }
    }
}

/// A place in a timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceView {
    /// When the transaction was made.
    pub transaction_date: Timestamp,
    /// The transaction.
    pub transaction_id: TransactionId,
}

impl PlaceView {
    fn of(place: Place) -> Self {
        Self { transaction_date: place.at, transaction_id: place.transaction_id }
    }
}

/// A valuation job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// Its id.
    pub id: u64,
    /// Its state.
    pub status: JobStatus,
    /// First date to value.
    pub date_from: Date,
    /// Last date to value.
    pub date_to: Date,
    /// Claims so far.
    pub attempts: u32,
    /// End of the current claim.
    pub lease_until: Option<Timestamp>,
    /// Not claimed before.
    pub not_before: Timestamp,
    /// Its keys with the tokens that it was made for.
    pub keys: Vec<JobKeyView>,
}

/// A key of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobKeyView {
    /// The portfolio.
    pub portfolio_id: PortfolioId,
    /// The security.
    pub security_id: SecurityId,
    /// The token.
    pub epoch: Epoch,
    /// The token.
    pub revision: Revision,
}

impl JobView {
    fn of(row: ValuationJobRow) -> Self {
        let keys = row.keys.into_iter().map(|held| JobKeyView {
            portfolio_id: held.key.portfolio_id,
            security_id: held.key.security_id,
            epoch: held.token.epoch,
            revision: held.token.revision,
        });
        Self {
            id: row.id,
            status: row.status,
            date_from: row.date_from,
            date_to: row.date_to,
            attempts: row.attempts,
            lease_until: row.lease_until,
            not_before: row.not_before,
            keys: keys.collect(),
        }
    }
}
