//! Cash flows: what they follow from, and the rows themselves.

use serde::{Deserialize, Serialize};

use super::super::rows::CashflowRow;
use crate::domain::ids::{Epoch, Key, TransactionId};
use crate::domain::records::{Place, Terms};

statements! {
    /// Per (key, epoch, transaction) of `$ids`: the row of `position_history` that is valid for the
    /// epoch (see [`super::ReadPositions`]), the terms of its entry in `position_timeline`, and
    /// whether there is a row of `cashflows` with its place and epoch. In order of `$ids`.
    ReadApplied {
        /// Keys with the version to look at, and transactions.
        ids: Vec<(Key, Epoch, TransactionId)>,
    } -> Vec<AppliedTransaction>;

    /// `INSERT INTO cashflows ..`; PK (key, place, epoch).
    InsertCashflows {
        /// Rows in (key, place) order.
        rows: Vec<CashflowRow>,
    } -> ();
}

/// A transaction that counts, see [`ReadApplied`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedTransaction {
    /// The key.
    pub key: Key,
    /// Its place.
    pub place: Place,
    /// Version of its history row.
    pub epoch: Epoch,
    /// What it was applied with.
    pub terms: Terms,
    /// Whether its cash flow is there.
    pub has_cashflow: bool,
}
