//! Writing the payloads.

use serde::Serialize;

use super::{AggregationRequired, ValuationRequired};
use crate::domain::ids::{Key, Token};
use crate::domain::intake::Rejection;
use crate::domain::money::Amount;
use crate::domain::records::{Costs, ExchangeRate, MarketPrice, Transaction};
use crate::domain::time::{Date, Timestamp};

/// The fields of a transaction; a null is written where nothing is known.
#[derive(Serialize)]
struct TransactionPayload<'a> {
    transaction_id: &'a str,
    portfolio_id: &'a str,
    instrument_id: &'a str,
    security_id: &'a str,
    transaction_date: Timestamp,
    transaction_type: &'static str,
    quantity: Amount,
    price: Amount,
    gross_transaction_amount: Amount,
    trade_currency: &'a str,
    currency: &'a str,
    trade_fee: Amount,
    settlement_date: Option<&'a str>,
    net_cost: Option<Amount>,
    gross_cost: Option<Amount>,
    realized_gain_loss: Option<Amount>,
    transaction_fx_rate: Option<Amount>,
    net_cost_local: Option<Amount>,
    realized_gain_loss_local: Option<Amount>,
    economic_event_id: Option<&'a str>,
    linked_transaction_group_id: Option<&'a str>,
    calculation_policy_id: Option<&'a str>,
    calculation_policy_version: Option<&'a str>,
    source_system: Option<&'a str>,
    epoch: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
}

/// Payload of `raw_transactions_completed`.
pub fn transaction_completed(transaction: &Transaction) -> String {
    transaction_payload(transaction, None, None)
}

/// Payload of `processed_transactions_completed`.
pub fn transaction_processed(transaction: &Transaction, costs: &Costs, token: Token) -> String {
    transaction_payload(transaction, Some(costs), Some(token))
}

fn transaction_payload(
    transaction: &Transaction,
    costs: Option<&Costs>,
    token: Option<Token>,
) -> String {
    let terms = &transaction.terms;
    to_json(&TransactionPayload {
        transaction_id: transaction.transaction_id.as_str(),
        portfolio_id: transaction.key.portfolio_id.as_str(),
        instrument_id: &transaction.instrument_id,
        security_id: transaction.key.security_id.as_str(),
        transaction_date: terms.at,
        transaction_type: terms.kind.as_str(),
        quantity: terms.quantity,
        price: terms.price,
        gross_transaction_amount: terms.gross,
        trade_currency: terms.trade_currency.as_str(),
        currency: terms.currency.as_str(),
        trade_fee: terms.fee,
        settlement_date: transaction.settlement_date.as_deref(),
        net_cost: costs.map(|c| c.net_cost),
        gross_cost: costs.map(|c| c.gross_cost),
        realized_gain_loss: costs.and_then(|c| c.realized_gain_loss),
        transaction_fx_rate: costs.map(|c| c.transaction_fx_rate),
        net_cost_local: costs.map(|c| c.net_cost_local),
        realized_gain_loss_local: costs.and_then(|c| c.realized_gain_loss_local),
        economic_event_id: None,
        linked_transaction_group_id: None,
        calculation_policy_id: terms.policy.as_deref(),
        calculation_policy_version: None,
        source_system: None,
        epoch: token.map(|t| t.epoch.0),
        revision: token.map(|t| t.revision.0),
    })
}

/// Payload of `market_price_persisted`.
pub fn price_persisted(price: &MarketPrice) -> String {
    #[derive(Serialize)]
    struct Payload<'a> {
        security_id: &'a str,
        price_date: Date,
        price: Amount,
        currency: &'a str,
    }
    to_json(&Payload {
        security_id: price.security_id.as_str(),
        price_date: price.price_date,
        price: price.price,
        currency: price.currency.as_str(),
    })
}

/// Payload of `fx_rate_persisted`.
pub fn rate_persisted(rate: &ExchangeRate) -> String {
    #[derive(Serialize)]
    struct Payload<'a> {
        from_currency: &'a str,
        to_currency: &'a str,
        rate_date: Date,
        rate: Amount,
    }
    to_json(&Payload {
        from_currency: rate.from_currency.as_str(),
        to_currency: rate.to_currency.as_str(),
        rate_date: rate.rate_date,
        rate: rate.rate,
    })
}

/// Payload of `valuation_required`.
pub fn valuation_required(job: &ValuationRequired) -> String {
    #[derive(Serialize)]
    struct JobKey<'a> {
        portfolio_id: &'a str,
        security_id: &'a str,
        epoch: u32,
        revision: u64,
    }
    #[derive(Serialize)]
    struct Payload<'a> {
        portfolio_id: &'a str,
        security_id: &'a str,
        valuation_date: Date,
        epoch: u32,
        correlation_id: Option<&'a str>,
        revision: u64,
        valuation_date_to: Date,
        job_id: Option<u64>,
        attempt: u32,
        keys: Vec<JobKey<'a>>,
    }
    let (first, token) = job.keys.first().expect("a valuation job has a key");
    to_json(&Payload {
        portfolio_id: first.portfolio_id.as_str(),
        security_id: first.security_id.as_str(),
        valuation_date: job.date_from,
        epoch: token.epoch.0,
        correlation_id: job.correlation_id.as_deref(),
        revision: token.revision.0,
        valuation_date_to: job.date_to,
        job_id: job.job_id,
        attempt: job.attempt,
        keys: job
            .keys
            .iter()
            .map(|(key, token)| JobKey {
                portfolio_id: key.portfolio_id.as_str(),
                security_id: key.security_id.as_str(),
                epoch: token.epoch.0,
                revision: token.revision.0,
            })
            .collect(),
    })
}

/// Payload of `daily_position_snapshot_persisted`: snapshots of a key over a range of dates.
pub fn snapshots_persisted(key: &Key, token: Token, from: Date, to: Date) -> String {
    #[derive(Serialize)]
    struct Payload<'a> {
        portfolio_id: &'a str,
        security_id: &'a str,
        date: Date,
        epoch: u32,
        revision: u64,
        date_to: Date,
    }
    to_json(&Payload {
        portfolio_id: key.portfolio_id.as_str(),
        security_id: key.security_id.as_str(),
        date: from,
        epoch: token.epoch.0,
        revision: token.revision.0,
        date_to: to,
    })
}

/// Payload of `portfolio_aggregation_required`.
pub fn aggregation_required(required: &AggregationRequired) -> String {
    #[derive(Serialize)]
    struct ChangedKey<'a> {
        security_id: &'a str,
        epoch: u32,
        revision: u64,
    }
    #[derive(Serialize)]
    struct Payload<'a> {
        portfolio_id: &'a str,
        aggregation_date: Date,
        aggregation_date_to: Date,
        keys: Vec<ChangedKey<'a>>,
    }
    to_json(&Payload {
        portfolio_id: required.portfolio_id.as_str(),
        aggregation_date: required.date_from,
        aggregation_date_to: required.date_to,
        keys: required
            .keys
            .iter()
            .map(|(security_id, token)| ChangedKey {
                security_id: security_id.as_str(),
                epoch: token.epoch.0,
                revision: token.revision.0,
            })
            .collect(),
    })
}

/// Most bytes of a value that a dead letter quotes; with the default limits a message has fewer.
pub const QUOTED_VALUE_MAX: usize = 1 << 20;

/// Most bytes of a key that a dead letter quotes.
pub const QUOTED_KEY_MAX: usize = 1 << 16;

/// No dead letter is larger, key and headers included: JSON writes a control character in six
/// bytes, and its record has a key of its own.
pub const DEAD_LETTER_BYTES_MAX: u32 = 16 << 20;

/// Payload of `persistence_service.dlq`. What exceeds the quotable is cut off, and `value_bytes`
/// says how long the value was: a letter that no broker takes would stop its partition for ever.
pub fn dead_letter(
    topic: &str,
    key: &str,
    value: &[u8],
    error: Rejection,
    at: Timestamp,
) -> String {
    #[derive(Serialize)]
    struct Payload<'a> {
        original_topic: &'a str,
        key: &'a str,
        value: &'a str,
        error: &'static str,
        timestamp: Timestamp,
        #[serde(skip_serializing_if = "Option::is_none")]
        value_bytes: Option<usize>,
    }
    let is_cut = value.len() > QUOTED_VALUE_MAX;
    to_json(&Payload {
        original_topic: topic,
        key: &key[..key.floor_char_boundary(QUOTED_KEY_MAX)],
        value: &String::from_utf8_lossy(&value[..value.len().min(QUOTED_VALUE_MAX)]),
        error: error.as_str(),
        timestamp: at,
        value_bytes: is_cut.then_some(value.len()),
    })
}

fn to_json(payload: &impl Serialize) -> String {
    serde_json::to_string(payload).expect("a payload has text keys and needs no I/O")
}
