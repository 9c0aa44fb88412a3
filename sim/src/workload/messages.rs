//! Payloads of input messages, by the field names of the contract; decimals are texts.

use backdate_engine::domain::money::Amount;
use backdate_engine::domain::time::{Date, Timestamp};
use serde::Serialize;
use smol_str::SmolStr;

/// A portfolio.
#[derive(Serialize)]
pub(super) struct PortfolioMessage<'a> {
    pub(super) portfolio_id: &'a str,
    pub(super) base_currency: &'a str,
    pub(super) open_date: Date,
    pub(super) cost_basis_method: &'a str,
}

/// An instrument.
#[derive(Serialize)]
pub(super) struct InstrumentMessage<'a> {
    pub(super) security_id: &'a str,
    pub(super) currency: &'a str,
    pub(super) product_type: &'a str,
}

/// A business date.
#[derive(Serialize)]
pub(super) struct BusinessDateMessage {
    pub(super) business_date: Date,
    pub(super) calendar_code: &'static str,
}

/// A price.
#[derive(Serialize)]
pub(super) struct PriceMessage<'a> {
    pub(super) security_id: &'a str,
    pub(super) price_date: Date,
    pub(super) price: Amount,
    pub(super) currency: &'a str,
    #[serde(skip_serializing_if = "is_first")]
    pub(super) source_version: u32,
}

/// A rate.
#[derive(Serialize)]
pub(super) struct RateMessage<'a> {
    pub(super) from_currency: &'a str,
    pub(super) to_currency: &'a str,
    pub(super) rate_date: Date,
    pub(super) rate: Amount,
    #[serde(skip_serializing_if = "is_first")]
    pub(super) source_version: u32,
}

/// A transaction.
#[derive(Clone, Serialize)]
pub(super) struct TransactionMessage {
    pub(super) transaction_id: SmolStr,
    pub(super) portfolio_id: SmolStr,
    pub(super) instrument_id: SmolStr,
    pub(super) security_id: SmolStr,
    pub(super) transaction_date: Timestamp,
    pub(super) transaction_type: &'static str,
    pub(super) quantity: Amount,
    pub(super) price: Amount,
    pub(super) gross_transaction_amount: Amount,
    pub(super) trade_fee: Amount,
    pub(super) trade_currency: SmolStr,
    pub(super) currency: SmolStr,
    #[serde(skip_serializing_if = "is_first")]
    pub(super) source_version: u32,
}

/// The JSON text of a message.
pub(super) fn json(message: &impl Serialize) -> String {
    serde_json::to_string(message).expect("messages have text keys and finite values only")
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_first(source_version: &u32) -> bool {
    *source_version == 0
}
