//! Reading inputs from messages.
//!
//! What is accepted here can be stored and folded; everything else is a [`Rejection`], which is a
//! dead letter's reason. A message is judged alone: whether an amendment moves a transaction to
//! another key is for whoever holds the stored row.
//!
//! Where a message is wrong in several ways the reason is the first of: not a JSON object (or a
//! known field twice); a required field missing; a field that is not of its type; an unknown type
//! or cost method; a number too large; quantity not positive; a negative amount; a fee above the
//! gross amount; a rate not positive. All numbers are judged after rounding to ten decimals.
//!
//! # Invariants
//! - Decimals are exact: JSON numbers are read as text, never as binary floats.
//! - No input of any bytes panics.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use smol_str::SmolStr;

use super::ids::{Currency, Key, PortfolioId, SecurityId, TransactionId};
use super::json::{self, Field, message};
use super::money::Amount;
use super::records::{
    BusinessDate, CostMethod, ExchangeRate, GLOBAL_CALENDAR, Instrument, MarketPrice, Portfolio,
    Terms, Transaction, TransactionType, named,
};

named!(
    /// Why a message has no effect; a fixed code of the dead letters.
    Rejection {
        /// The payload is no JSON object.
        Malformed = "MALFORMED_JSON",
        /// A required field is absent or null.
        MissingField = "MISSING_FIELD",
        /// A field is not of its type.
        BadField = "BAD_FIELD",
        /// The transaction type (or cost method) is not known.
        UnknownType = "UNKNOWN_TYPE",
        /// The quantity of BUY, SELL, TRANSFER_IN or TRANSFER_OUT is not above zero.
        QuantityNotPositive = "QUANTITY_NOT_POSITIVE",
        /// A gross amount, price, fee or market price is below zero.
        NegativeAmount = "NEGATIVE_AMOUNT",
        /// The fee of a SELL exceeds its gross amount.
        FeeExceedsGross = "FEE_EXCEEDS_GROSS",
        /// A rate is not above zero.
        RateNotPositive = "RATE_NOT_POSITIVE",
        /// A number is 10^12 or more.
        NumberTooLarge = "NUMBER_TOO_LARGE",
        /// An amendment would move a transaction to another portfolio or security.
        KeyChanged = "KEY_CHANGED",
    }
);

/// A content with its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The content, rounded as persisted.
    pub content: T,
    /// `source_version`, 0 if absent. Any integer of 64 bits: it may be a clock's reading, so the
    /// limit on decimals does not apply.
    pub source_version: i64,
}

message!(TransactionMessage {
    transaction_id,
    portfolio_id,
    instrument_id,
    security_id,
    transaction_date,
    transaction_type,
    quantity,
    price,
    gross_transaction_amount,
    trade_fee,
    trade_currency,
    currency,
    settlement_date,
    accrued_interest,
    calculation_policy_id,
    source_version,
});

/// Reads a message of `raw_transactions`.
pub fn transaction(value: &[u8]) -> Result<Versioned<Transaction>, Rejection> {
    let message: TransactionMessage<'_> = json::object(value)?;
    json::require(&[
        message.transaction_id,
        message.portfolio_id,
        message.instrument_id,
        message.security_id,
        message.transaction_date,
        message.transaction_type,
        message.quantity,
        message.price,
        message.gross_transaction_amount,
        message.trade_fee,
        message.trade_currency,
        message.currency,
    ])?;
    let key = Key {
        portfolio_id: PortfolioId::new(json::text(message.portfolio_id)?),
        security_id: SecurityId::new(json::text(message.security_id)?),
    };
    let transaction_id = TransactionId::new(json::text(message.transaction_id)?);
    let instrument_id = SmolStr::new(json::text(message.instrument_id)?);
    let settlement_date = json::optional_text(message.settlement_date)?.map(SmolStr::new);
    let (terms, source_version) = terms(&message)?;
    Ok(Versioned {
        content: Transaction { transaction_id, key, instrument_id, settlement_date, terms },
        source_version,
    })
}

/// What decides, with the version.
fn terms(message: &TransactionMessage<'_>) -> Result<(Terms, i64), Rejection> {
    let at = json::timestamp(message.transaction_date)?;
    let kind = json::text(message.transaction_type)?;
    let quantity = json::decimal(message.quantity)?;
    let price = json::decimal(message.price)?;
    let gross = json::decimal(message.gross_transaction_amount)?;
    let fee = json::decimal(message.trade_fee)?;
    let accrued_interest = if json::present(message.accrued_interest) {
        json::decimal(message.accrued_interest)?
    } else {
        Some(Amount::ZERO)
    };
    let trade_currency = Currency::new(json::text(message.trade_currency)?);
    let currency = Currency::new(json::text(message.currency)?);
    let policy = json::optional_text(message.calculation_policy_id)?.map(SmolStr::new);
    let source_version = source_version(message.source_version)?;

    let kind = TransactionType::parse(&kind).ok_or(Rejection::UnknownType)?;
    let terms = Terms {
        at,
        kind,
        quantity: quantity.ok_or(Rejection::NumberTooLarge)?,
        price: price.ok_or(Rejection::NumberTooLarge)?,
        gross: gross.ok_or(Rejection::NumberTooLarge)?,
        fee: fee.ok_or(Rejection::NumberTooLarge)?,
        accrued_interest: accrued_interest.ok_or(Rejection::NumberTooLarge)?,
        policy,
        trade_currency,
        currency,
    };
    plausible(&terms)?;
    Ok((terms, source_version))
}

/// Refuses terms that no booking can have. Accrued interest may be negative (a bond between its
/// record and payment dates).
fn plausible(terms: &Terms) -> Result<(), Rejection> {
    let moves_quantity = matches!(
        terms.kind,
        TransactionType::Buy
            | TransactionType::Sell
            | TransactionType::TransferIn
            | TransactionType::TransferOut
    );
    if moves_quantity && terms.quantity <= Amount::ZERO {
        return Err(Rejection::QuantityNotPositive);
    }
    if [terms.gross, terms.price, terms.fee].iter().any(|amount| amount.is_negative()) {
        return Err(Rejection::NegativeAmount);
    }
    if terms.kind == TransactionType::Sell && terms.fee > terms.gross {
        return Err(Rejection::FeeExceedsGross);
    }
    Ok(())
}

message!(PriceMessage { security_id, price_date, price, currency, source_version });

/// Reads a message of `market_prices`.
pub fn market_price(value: &[u8]) -> Result<Versioned<MarketPrice>, Rejection> {
    let message: PriceMessage<'_> = json::object(value)?;
    json::require(&[message.security_id, message.price_date, message.price, message.currency])?;
    let security_id = SecurityId::new(json::text(message.security_id)?);
    let price_date = json::date(message.price_date)?;
    let price = json::decimal(message.price)?;
    let currency = Currency::new(json::text(message.currency)?);
    let source_version = source_version(message.source_version)?;
    let price = price.ok_or(Rejection::NumberTooLarge)?;
    if price.is_negative() {
        return Err(Rejection::NegativeAmount);
    }
    Ok(Versioned {
        content: MarketPrice { security_id, price_date, price, currency },
        source_version,
    })
}

message!(RateMessage { from_currency, to_currency, rate_date, rate, source_version });

/// Reads a message of `fx_rates`.
pub fn exchange_rate(value: &[u8]) -> Result<Versioned<ExchangeRate>, Rejection> {
    let message: RateMessage<'_> = json::object(value)?;
    json::require(&[message.from_currency, message.to_currency, message.rate_date, message.rate])?;
    let from_currency = Currency::new(json::text(message.from_currency)?);
    let to_currency = Currency::new(json::text(message.to_currency)?);
    let rate_date = json::date(message.rate_date)?;
    let rate = json::decimal(message.rate)?;
    let source_version = source_version(message.source_version)?;
    let rate = rate.ok_or(Rejection::NumberTooLarge)?;
    if rate <= Amount::ZERO {
        return Err(Rejection::RateNotPositive);
    }
    Ok(Versioned {
        content: ExchangeRate { from_currency, to_currency, rate_date, rate },
        source_version,
    })
}

message!(PortfolioMessage {
    portfolio_id,
    base_currency,
    open_date,
    cost_basis_method,
    source_version,
});

/// Reads a message of `raw_portfolios`.
pub fn portfolio(value: &[u8]) -> Result<Versioned<Portfolio>, Rejection> {
    let message: PortfolioMessage<'_> = json::object(value)?;
    json::require(&[
        message.portfolio_id,
        message.base_currency,
        message.open_date,
        message.cost_basis_method,
    ])?;
    let portfolio_id = PortfolioId::new(json::text(message.portfolio_id)?);
    let base_currency = Currency::new(json::text(message.base_currency)?);
    let open_date = SmolStr::new(json::text(message.open_date)?);
    let method = json::text(message.cost_basis_method)?;
    let source_version = source_version(message.source_version)?;
    let cost_basis_method = CostMethod::parse(&method).ok_or(Rejection::UnknownType)?;
    Ok(Versioned {
        content: Portfolio { portfolio_id, base_currency, open_date, cost_basis_method },
        source_version,
    })
}

message!(InstrumentMessage { security_id, currency, product_type, source_version });

/// Reads a message of `instruments`.
pub fn instrument(value: &[u8]) -> Result<Versioned<Instrument>, Rejection> {
    let message: InstrumentMessage<'_> = json::object(value)?;
    json::require(&[message.security_id, message.currency, message.product_type])?;
    Ok(Versioned {
        content: Instrument {
            security_id: SecurityId::new(json::text(message.security_id)?),
            currency: Currency::new(json::text(message.currency)?),
            product_type: SmolStr::new(json::text(message.product_type)?),
        },
        source_version: source_version(message.source_version)?,
    })
}

message!(BusinessDateMessage { business_date, calendar_code, source_version });

/// Reads a message of `raw_business_dates`.
pub fn business_date(value: &[u8]) -> Result<Versioned<BusinessDate>, Rejection> {
    let message: BusinessDateMessage<'_> = json::object(value)?;
    json::require(&[message.business_date])?;
    let calendar =
        json::optional_text(message.calendar_code)?.unwrap_or(Cow::Borrowed(GLOBAL_CALENDAR));
    Ok(Versioned {
        content: BusinessDate {
            calendar_code: SmolStr::new(calendar),
            business_date: json::date(message.business_date)?,
        },
        source_version: source_version(message.source_version)?,
    })
}

/// The header `correlation_id`, if it can be stored. It is only a label: what bears one that cannot
/// is as good as without it, and must be neither refused nor tried for ever.
pub fn correlation_id(header: Option<&SmolStr>) -> Option<SmolStr> {
    header.filter(|text| json::is_storable(text)).cloned()
}

fn source_version(field: Field<'_>) -> Result<i64, Rejection> {
    if json::present(field) { json::integer(field) } else { Ok(0) }
}
