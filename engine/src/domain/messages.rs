//! Payloads of the engine's own topics. (Signatures agreed; bodies to be filled.)

use smol_str::SmolStr;

use super::ids::{Currency, Key, SecurityId, Token, TransactionId};
use super::intake::Rejection;
use super::records::{Costs, ExchangeRate, MarketPrice, Transaction};
use super::time::{Date, Timestamp};

/// News of a stored transaction, as its consumer needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionNews {
    /// The transaction.
    pub transaction_id: TransactionId,
    /// Its key.
    pub key: Key,
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

/// Payload of `raw_transactions_completed`.
pub fn transaction_completed(_transaction: &Transaction) -> String {
    unimplemented!()
}

/// Reads it.
pub fn read_transaction_completed(_value: &[u8]) -> Result<TransactionNews, Rejection> {
    unimplemented!()
}

/// Payload of `market_price_persisted`.
pub fn price_persisted(_price: &MarketPrice) -> String {
    unimplemented!()
}

/// Reads it.
pub fn read_price_persisted(_value: &[u8]) -> Result<PriceNews, Rejection> {
    unimplemented!()
}

/// Payload of `fx_rate_persisted`.
pub fn rate_persisted(_rate: &ExchangeRate) -> String {
    unimplemented!()
}

/// Reads it.
pub fn read_rate_persisted(_value: &[u8]) -> Result<RateNews, Rejection> {
    unimplemented!()
}

/// Payload of `processed_transactions_completed`.
pub fn transaction_processed(_transaction: &Transaction, _costs: &Costs, _token: Token) -> String {
    unimplemented!()
}

/// Payload of `valuation_required`.
pub fn valuation_required(_job: &ValuationRequired) -> String {
    unimplemented!()
}

/// Reads it; without `keys` the top-level key, epoch and revision are the only one.
pub fn read_valuation_required(_value: &[u8]) -> Result<ValuationRequired, Rejection> {
    unimplemented!()
}

/// Payload of `daily_position_snapshot_persisted`: snapshots of a key over a range of dates.
pub fn snapshots_persisted(_key: &Key, _token: Token, _from: Date, _to: Date) -> String {
    unimplemented!()
}

/// Payload of `persistence_service.dlq`.
pub fn dead_letter(
    _topic: &str,
    _key: &str,
    _value: &[u8],
    _error: Rejection,
    _at: Timestamp,
) -> String {
    unimplemented!()
}
