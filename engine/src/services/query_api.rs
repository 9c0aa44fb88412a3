//! The read side of `query-api`: positions as readers see them, always one complete version of a
//! key.

use serde::{Deserialize, Serialize};

use crate::domain::ids::PortfolioId;
use crate::domain::records::KeyStatus;
use crate::domain::time::Date;
use crate::ports::store::statements::{PositionRead, ReadPortfolioPositions};
use crate::ports::store::{Store, StoreError};

/// Whether what is shown is about to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReprocessingStatus {
    /// It is the newest version, complete.
    Current,
    /// The key is being reprocessed.
    InProgress,
}

/// A position of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionView {
    /// What is shown, from one snapshot of the database.
    pub read: PositionRead,
    /// Whether it is about to be replaced.
    pub reprocessing_status: ReprocessingStatus,
}

/// The positions of a portfolio, in key order: quantities of zero are left out, negative ones are
/// not, and a position without a snapshot has no values. What counts is the history: the latest
/// snapshot may be of a day between, on which nothing was held.
pub async fn positions<S: Store>(
    store: &S,
    portfolio_id: &PortfolioId,
    as_of: Option<Date>,
) -> Result<Vec<PositionView>, StoreError> {
    let statement = ReadPortfolioPositions { portfolio_id: portfolio_id.clone(), as_of };
    let reads = store.query(statement).await?;
    let is_held = |read: &PositionRead| !read.position.quantity.is_zero();
    Ok(reads.into_iter().filter(is_held).map(view).collect())
}

fn view(read: PositionRead) -> PositionView {
    let reprocessing_status = match read.status {
        KeyStatus::Current => ReprocessingStatus::Current,
        KeyStatus::Reprocessing => ReprocessingStatus::InProgress,
    };
    PositionView { read, reprocessing_status }
}
