//! Reading the payloads, our own and those of captures.

use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::{
    AggregationRequired, DeadLetter, PriceNews, ProcessedNews, RateNews, SnapshotsNews,
    TransactionNews, ValuationRequired,
};
use crate::domain::ids::{Currency, Epoch, Key, PortfolioId, Revision, SecurityId};
use crate::domain::ids::{Token, TransactionId};
use crate::domain::intake::Rejection;
use crate::domain::json::{self, Field, message};
use crate::domain::time::Date;

message!(TransactionFields { transaction_id, portfolio_id, security_id, epoch, revision });

/// Reads `raw_transactions_completed`.
pub fn read_transaction_completed(value: &[u8]) -> Result<TransactionNews, Rejection> {
    let message: TransactionFields<'_> = json::object(value)?;
    Ok(TransactionNews {
        transaction_id: transaction_id(message.transaction_id)?,
        key: key(message.portfolio_id, message.security_id)?,
    })
}

/// Reads `processed_transactions_completed`.
pub fn read_transaction_processed(value: &[u8]) -> Result<ProcessedNews, Rejection> {
    let message: TransactionFields<'_> = json::object(value)?;
    let token = message.epoch.map(|_| token(message.epoch, message.revision)).transpose()?;
    Ok(ProcessedNews {
        transaction_id: transaction_id(message.transaction_id)?,
        key: key(message.portfolio_id, message.security_id)?,
        token,
    })
}

message!(PriceFields { security_id, price_date });

/// Reads `market_price_persisted`.
pub fn read_price_persisted(value: &[u8]) -> Result<PriceNews, Rejection> {
    let message: PriceFields<'_> = json::object(value)?;
    json::require(&[message.security_id, message.price_date])?;
    Ok(PriceNews {
        security_id: SecurityId::new(json::text(message.security_id)?),
        price_date: json::date(message.price_date)?,
    })
}

message!(RateFields { from_currency, to_currency, rate_date });

/// Reads `fx_rate_persisted`.
pub fn read_rate_persisted(value: &[u8]) -> Result<RateNews, Rejection> {
    let message: RateFields<'_> = json::object(value)?;
    json::require(&[message.from_currency, message.to_currency, message.rate_date])?;
    let pair = (
        Currency::new(json::text(message.from_currency)?),
        Currency::new(json::text(message.to_currency)?),
    );
    Ok(RateNews { pair, rate_date: json::date(message.rate_date)? })
}

message!(ValuationFields {
    portfolio_id,
    security_id,
    valuation_date,
    epoch,
    correlation_id,
    revision,
    valuation_date_to,
    job_id,
    attempt,
    keys,
});

message!(JobKeyFields { portfolio_id, security_id, epoch, revision });

/// Reads `valuation_required`; without `keys` the top-level key, epoch and revision are the only
/// one. A job without an epoch cannot be fenced and is refused.
pub fn read_valuation_required(value: &[u8]) -> Result<ValuationRequired, Rejection> {
    let message: ValuationFields<'_> = json::object(value)?;
    let (date_from, date_to) = range(message.valuation_date, message.valuation_date_to)?;
    let keys = match message.keys {
        Some(keys) => job_keys(keys)?,
        None => vec![(
            key(message.portfolio_id, message.security_id)?,
            token(message.epoch, message.revision)?,
        )],
    };
    let attempt = message.attempt.map(|_| json::integer(message.attempt));
    let job_id = message.job_id.map(|_| json::integer(message.job_id));
    Ok(ValuationRequired {
        job_id: job_id.transpose()?,
        attempt: attempt.transpose()?.unwrap_or(0),
        keys,
        date_from,
        date_to,
        correlation_id: json::optional_text(message.correlation_id)?.map(SmolStr::new),
    })
}

fn job_keys(keys: &RawValue) -> Result<Vec<(Key, Token)>, Rejection> {
    let objects: Vec<&RawValue> =
        serde_json::from_str(keys.get()).map_err(|_| Rejection::BadField)?;
    if objects.is_empty() {
        return Err(Rejection::BadField);
    }
    objects
        .into_iter()
        .map(|object| {
            let fields: JobKeyFields<'_> =
                json::object(object.get().as_bytes()).map_err(|_| Rejection::BadField)?;
            Ok((
                key(fields.portfolio_id, fields.security_id)?,
                token(fields.epoch, fields.revision)?,
            ))
        })
        .collect()
}

message!(SnapshotFields { portfolio_id, security_id, date, epoch, revision, date_to });

/// Reads `daily_position_snapshot_persisted`.
pub fn read_snapshots_persisted(value: &[u8]) -> Result<SnapshotsNews, Rejection> {
    let message: SnapshotFields<'_> = json::object(value)?;
    let (date_from, date_to) = range(message.date, message.date_to)?;
    Ok(SnapshotsNews {
        key: key(message.portfolio_id, message.security_id)?,
        token: token(message.epoch, message.revision)?,
        date_from,
        date_to,
    })
}

message!(AggregationFields { portfolio_id, aggregation_date, aggregation_date_to, keys });

message!(ChangedKeyFields { security_id, epoch, revision });

/// Reads `portfolio_aggregation_required`.
pub fn read_aggregation_required(value: &[u8]) -> Result<AggregationRequired, Rejection> {
    let message: AggregationFields<'_> = json::object(value)?;
    json::require(&[message.portfolio_id])?;
    let (date_from, date_to) = range(message.aggregation_date, message.aggregation_date_to)?;
    Ok(AggregationRequired {
        portfolio_id: PortfolioId::new(json::text(message.portfolio_id)?),
        date_from,
        date_to,
        keys: message.keys.map_or(Ok(Vec::new()), changed_keys)?,
    })
}

fn changed_keys(keys: &RawValue) -> Result<Vec<(SecurityId, Token)>, Rejection> {
    let objects: Vec<&RawValue> =
        serde_json::from_str(keys.get()).map_err(|_| Rejection::BadField)?;
    let read = |object: &RawValue| {
        let fields: ChangedKeyFields<'_> =
            json::object(object.get().as_bytes()).map_err(|_| Rejection::BadField)?;
        json::require(&[fields.security_id])?;
        let security_id = SecurityId::new(json::text(fields.security_id)?);
        Ok((security_id, token(fields.epoch, fields.revision)?))
    };
    objects.into_iter().map(read).collect()
}

message!(DeadLetterFields { original_topic, key, value, error });

/// Reads `persistence_service.dlq`; none if it is no dead letter.
pub fn read_dead_letter(value: &[u8]) -> Option<DeadLetter> {
    let message: DeadLetterFields<'_> = json::object(value).ok()?;
    let text = |field: Field<'_>| match field {
        Some(_) => json::string(field).ok().map(String::from),
        None => Some(String::new()),
    };
    Some(DeadLetter {
        topic: json::string(message.original_topic).ok()?.into_owned(),
        key: text(message.key)?,
        value: text(message.value)?,
        error: text(message.error)?,
    })
}

fn transaction_id(field: Field<'_>) -> Result<TransactionId, Rejection> {
    json::require(&[field])?;
    json::text(field).map(TransactionId::new)
}

fn key(portfolio_id: Field<'_>, security_id: Field<'_>) -> Result<Key, Rejection> {
    json::require(&[portfolio_id, security_id])?;
    Ok(Key {
        portfolio_id: PortfolioId::new(json::text(portfolio_id)?),
        security_id: SecurityId::new(json::text(security_id)?),
    })
}

/// A token; captures have no revisions.
fn token(epoch: Field<'_>, revision: Field<'_>) -> Result<Token, Rejection> {
    if epoch.is_none() {
        return Err(Rejection::BadField);
    }
    Ok(Token {
        epoch: Epoch(json::integer(epoch)?),
        revision: Revision(match revision {
            Some(_) => json::integer(revision)?,
            None => 0,
        }),
    })
}

/// A range of dates; one date in captures.
fn range(from: Field<'_>, to: Field<'_>) -> Result<(Date, Date), Rejection> {
    json::require(&[from])?;
    let from = json::date(from)?;
    let to = match to {
        Some(_) => json::date(to)?,
        None => from,
    };
    if to < from {
        return Err(Rejection::BadField);
    }
    Ok((from, to))
}
