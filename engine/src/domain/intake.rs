//! Reading inputs from messages. (Signatures agreed; bodies to be filled.)

use super::records::{
    BusinessDate, ExchangeRate, Instrument, MarketPrice, Portfolio, Transaction, named,
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
    /// `source_version`, 0 if absent.
    pub source_version: i64,
}

/// Reads a message of `raw_transactions`.
pub fn transaction(_value: &[u8]) -> Result<Versioned<Transaction>, Rejection> {
    unimplemented!()
}

/// Reads a message of `market_prices`.
pub fn market_price(_value: &[u8]) -> Result<Versioned<MarketPrice>, Rejection> {
    unimplemented!()
}

/// Reads a message of `fx_rates`.
pub fn exchange_rate(_value: &[u8]) -> Result<Versioned<ExchangeRate>, Rejection> {
    unimplemented!()
}

/// Reads a message of `raw_portfolios`.
pub fn portfolio(_value: &[u8]) -> Result<Versioned<Portfolio>, Rejection> {
    unimplemented!()
}

/// Reads a message of `instruments`.
pub fn instrument(_value: &[u8]) -> Result<Versioned<Instrument>, Rejection> {
    unimplemented!()
}

/// Reads a message of `raw_business_dates`.
pub fn business_date(_value: &[u8]) -> Result<Versioned<BusinessDate>, Rejection> {
    unimplemented!()
}
