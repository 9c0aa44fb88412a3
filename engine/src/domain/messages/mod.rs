//! Payloads of the engine's own topics.
//!
//! Names and order of the fields are those of the topics that captures come from, so that captures
//! can be read and exports be compared; what the engine adds comes last. Decimals are texts. An
//! event is news, not content: a reader takes from it which row to look at, and under which token.
//!
//! # Invariants
//! - What is written here is read back here.
//! - Every event about a key carries its epoch and revision, but for `raw_transactions_completed`.

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::{
    read_aggregation_required, read_dead_letter, read_price_persisted, read_rate_persisted,
    read_snapshots_persisted, read_transaction_completed, read_transaction_processed,
    read_valuation_required,
};
pub use write::{
    DEAD_LETTER_BYTES_MAX, QUOTED_KEY_MAX, QUOTED_VALUE_MAX, aggregation_required, dead_letter,
    price_persisted, rate_persisted, snapshots_persisted, transaction_completed,
    transaction_processed, valuation_required,
};

use smol_str::SmolStr;

use super::ids::{Currency, Key, PortfolioId, SecurityId, Token, TransactionId};
use super::time::Date;

/// News of a stored transaction, as its consumer needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionNews {
    /// The transaction.
    pub transaction_id: TransactionId,
    /// Its key.
    pub key: Key,
}

/// News of an applied transaction, as its consumer needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessedNews {
    /// The transaction.
    pub transaction_id: TransactionId,
    /// Its key.
    pub key: Key,
    /// The token under which it was applied; none in captures that have a null epoch.
    pub token: Option<Token>,
}

/// News of a stored price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceNews {
    /// What is priced.
    pub security_id: SecurityId,
    /// The date.
    pub price_date: Date,
}

/// News of a stored rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateNews {
    /// The pair as quoted.
    pub pair: (Currency, Currency),
    /// The date.
    pub rate_date: Date,
}

/// A valuation job as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValuationRequired {
    /// The job; none in captures.
    pub job_id: Option<u64>,
    /// Number of the claim that sent it.
    pub attempt: u32,
    /// Keys with the token of each; at least one.
    pub keys: Vec<(Key, Token)>,
    /// First date.
    pub date_from: Date,
    /// Last date.
    pub date_to: Date,
    /// Travels through.
    pub correlation_id: Option<SmolStr>,
}

/// News of snapshots of a key over a range of dates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotsNews {
    /// The key.
    pub key: Key,
    /// The token under which they were written.
    pub token: Token,
    /// First date.
    pub date_from: Date,
    /// Last date.
    pub date_to: Date,
}

/// Rows of a portfolio's series that are due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregationRequired {
    /// The portfolio.
    pub portfolio_id: PortfolioId,
    /// First date.
    pub date_from: Date,
    /// Last date.
    pub date_to: Date,
    /// What has changed, with the token that it was seen with; none in captures.
    pub keys: Vec<(SecurityId, Token)>,
}

/// A message that had no effect, as it was put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The topic that it came from.
    pub topic: String,
    /// Its key.
    pub key: String,
    /// Its value; bytes that are no UTF-8 are replaced.
    pub value: String,
    /// The reason's code.
    pub error: String,
}
