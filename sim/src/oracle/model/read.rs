//! Reading raw messages: what is accepted, and the fixed code of what is not.
//!
//! Numbers are taken as the text that stands in the message, so nothing passes through a binary
//! float. Unknown fields are ignored; null and the empty text are no value. The checks run in
//! stages over the whole message, so that a message with several faults has one code: malformed
//! (also: a known field twice), missing, bad field, unknown type, number too large, and then the
//! rules about content. A text has at most 512 bytes and no NUL, a date four digits in its year.
//!
//! # Invariants
//! - An accepted input is rounded as it is persisted.

use std::borrow::Cow;
use std::fmt;

use backdate_engine::domain::ids::{Currency, Key, PortfolioId, SecurityId, TransactionId};
use backdate_engine::domain::money::{Amount, ParseAmountError};
use backdate_engine::domain::records::{
    BusinessDate, CostMethod, ExchangeRate, GLOBAL_CALENDAR, Instrument, MarketPrice, Portfolio,
    Terms, Transaction, TransactionType,
};
use backdate_engine::domain::time::{Date, Timestamp};
use backdate_engine::ports::log::Topic;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use smol_str::SmolStr;

/// The fixed code of a rejection, as dead letters carry it.
pub type Code = &'static str;

const MALFORMED: Code = "MALFORMED_JSON";
const MISSING: Code = "MISSING_FIELD";
const BAD_FIELD: Code = "BAD_FIELD";
const UNKNOWN_TYPE: Code = "UNKNOWN_TYPE";
const TOO_LARGE: Code = "NUMBER_TOO_LARGE";
const QUANTITY: Code = "QUANTITY_NOT_POSITIVE";
const NEGATIVE: Code = "NEGATIVE_AMOUNT";
const FEE: Code = "FEE_EXCEEDS_GROSS";
const RATE: Code = "RATE_NOT_POSITIVE";

/// A content that a raw topic brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// `raw_transactions`
    Transaction(Box<Transaction>),
    /// `market_prices`
    Price(MarketPrice),
    /// `fx_rates`
    Rate(ExchangeRate),
    /// `raw_portfolios`
    Portfolio(Portfolio),
    /// `instruments`
    Instrument(Instrument),
    /// `raw_business_dates`
    BusinessDate(BusinessDate),
}

/// Reads a message of a raw topic: content and version; none for topics that are not raw.
pub fn read(topic: Topic, value: &[u8]) -> Option<Result<(Input, i64), Code>> {
    let reader = match topic {
        Topic::RawTransactions => transaction,
        Topic::MarketPrices => price,
        Topic::FxRates => rate,
        Topic::RawPortfolios => portfolio,
        Topic::Instruments => instrument,
        Topic::RawBusinessDates => business_date,
        _ => return None,
    };
    Some(Fields::of(value).and_then(|fields| reader(&fields)))
}

fn transaction(fields: &Fields<'_>) -> Result<(Input, i64), Code> {
    fields.require(
        &[
            "transaction_id",
            "portfolio_id",
            "instrument_id",
            "security_id",
            "transaction_date",
            "transaction_type",
            "quantity",
            "price",
            "gross_transaction_amount",
            "trade_fee",
            "trade_currency",
            "currency",
        ],
        &["accrued_interest", "settlement_date", "calculation_policy_id"],
    )?;
    let mut numbers = Numbers::default();
    let transaction_id = TransactionId::new(fields.text("transaction_id")?);
    let key = Key {
        portfolio_id: PortfolioId::new(fields.text("portfolio_id")?),
        security_id: SecurityId::new(fields.text("security_id")?),
    };
    let instrument_id = SmolStr::new(fields.text("instrument_id")?);
    let at = fields.instant("transaction_date")?;
    let kind_name = fields.text("transaction_type")?;
    let quantity = numbers.read(fields, "quantity")?;
    let price = numbers.read(fields, "price")?;
    let gross = numbers.read(fields, "gross_transaction_amount")?;
    let fee = numbers.read(fields, "trade_fee")?;
    let accrued_interest = match fields.has("accrued_interest") {
        true => numbers.read(fields, "accrued_interest")?,
        false => Amount::ZERO,
    };
    let trade_currency = Currency::new(fields.text("trade_currency")?);
    let currency = Currency::new(fields.text("currency")?);
    let settlement_date = fields.optional_text("settlement_date")?;
    let policy = fields.optional_text("calculation_policy_id")?;
    let version = fields.version()?;
    let kind = TransactionType::parse(&kind_name).ok_or(UNKNOWN_TYPE)?;
    numbers.within_limits()?;
    let terms = Terms {
        at,
        kind,
        quantity,
        price,
        gross,
        fee,
        accrued_interest,
        policy,
        trade_currency,
        currency,
    };
    acceptable(&terms)?;
    let transaction = Transaction { transaction_id, key, instrument_id, settlement_date, terms };
    Ok((Input::Transaction(Box::new(transaction)), version))
}

fn acceptable(terms: &Terms) -> Result<(), Code> {
    use TransactionType::{Buy, Sell, TransferIn, TransferOut};
    let moves_units = matches!(terms.kind, Buy | Sell | TransferIn | TransferOut);
    if moves_units && terms.quantity <= Amount::ZERO {
        return Err(QUANTITY);
    }
    if [terms.gross, terms.price, terms.fee].iter().any(|amount| *amount < Amount::ZERO) {
        return Err(NEGATIVE);
    }
    if terms.kind == Sell && terms.fee > terms.gross {
        return Err(FEE);
    }
    Ok(())
}

fn price(fields: &Fields<'_>) -> Result<(Input, i64), Code> {
    fields.require(&["security_id", "price_date", "price", "currency"], &[])?;
    let mut numbers = Numbers::default();
    let price = MarketPrice {
        security_id: SecurityId::new(fields.text("security_id")?),
        price_date: fields.day("price_date")?,
        price: numbers.read(fields, "price")?,
        currency: Currency::new(fields.text("currency")?),
    };
    let version = fields.version()?;
    numbers.within_limits()?;
    if price.price < Amount::ZERO {
        return Err(NEGATIVE);
    }
    Ok((Input::Price(price), version))
}

fn rate(fields: &Fields<'_>) -> Result<(Input, i64), Code> {
    fields.require(&["from_currency", "to_currency", "rate_date", "rate"], &[])?;
    let mut numbers = Numbers::default();
    let rate = ExchangeRate {
        from_currency: Currency::new(fields.text("from_currency")?),
        to_currency: Currency::new(fields.text("to_currency")?),
        rate_date: fields.day("rate_date")?,
        rate: numbers.read(fields, "rate")?,
    };
    let version = fields.version()?;
    numbers.within_limits()?;
    if rate.rate <= Amount::ZERO {
        return Err(RATE);
    }
    Ok((Input::Rate(rate), version))
}

fn portfolio(fields: &Fields<'_>) -> Result<(Input, i64), Code> {
    fields.require(&["portfolio_id", "base_currency", "open_date", "cost_basis_method"], &[])?;
    let portfolio_id = PortfolioId::new(fields.text("portfolio_id")?);
    let base_currency = Currency::new(fields.text("base_currency")?);
    let open_date = SmolStr::new(fields.text("open_date")?);
    let method = fields.text("cost_basis_method")?;
    let version = fields.version()?;
    let portfolio = Portfolio {
        portfolio_id,
        base_currency,
        open_date,
        cost_basis_method: CostMethod::parse(&method).ok_or(UNKNOWN_TYPE)?,
    };
    Ok((Input::Portfolio(portfolio), version))
}

fn instrument(fields: &Fields<'_>) -> Result<(Input, i64), Code> {
    fields.require(&["security_id", "currency", "product_type"], &[])?;
    let instrument = Instrument {
        security_id: SecurityId::new(fields.text("security_id")?),
        currency: Currency::new(fields.text("currency")?),
        product_type: SmolStr::new(fields.text("product_type")?),
    };
    Ok((Input::Instrument(instrument), fields.version()?))
}

fn business_date(fields: &Fields<'_>) -> Result<(Input, i64), Code> {
    fields.require(&["business_date"], &["calendar_code"])?;
    let calendar = fields.optional_text("calendar_code")?;
    let date = BusinessDate {
        calendar_code: calendar.unwrap_or_else(|| SmolStr::new(GLOBAL_CALENDAR)),
        business_date: fields.day("business_date")?,
    };
    Ok((Input::BusinessDate(date), fields.version()?))
}

/// The fields of a message in their order, each as the text that stands in it.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::with_capacity(16);
                while let Some(Name(name)) = map.next_key()? {
                    fields.push((name, map.next_value()?));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// A name without a copy where it has no escapes (of a plain `Cow` serde always makes one).
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Fields<'a> {
    fn of(value: &'a [u8]) -> Result<Self, Code> {
        let text = std::str::from_utf8(value).map_err(|_| MALFORMED)?;
        serde_json::from_str(text).map_err(|_| MALFORMED)
    }

    fn raw(&self, name: &str) -> Option<&'a str> {
        let (_, raw) = self.0.iter().find(|(known, _)| known == name)?;
        Some(raw.get()).filter(|text| *text != "null" && *text != "\"\"")
    }

    fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// Refuses known fields that stand twice, then required ones that are missing.
    fn require(&self, names: &[&str], optional: &[&str]) -> Result<(), Code> {
        let known = names.iter().chain(optional).chain(&["source_version"]);
        for name in known {
            if self.0.iter().filter(|(field, _)| field == name).count() > 1 {
                return Err(MALFORMED);
            }
        }
        match names.iter().all(|name| self.has(name)) {
            true => Ok(()),
            false => Err(MISSING),
        }
    }

    fn text(&self, name: &str) -> Result<Cow<'a, str>, Code> {
        let text = unquoted(self.raw(name).ok_or(MISSING)?)?;
        match text.len() > 512 || text.contains('\0') {
            true => Err(BAD_FIELD),
            false => Ok(text),
        }
    }

    fn optional_text(&self, name: &str) -> Result<Option<SmolStr>, Code> {
        match self.has(name) {
            true => self.text(name).map(|text| Some(SmolStr::new(text))),
            false => Ok(None),
        }
    }

    fn day(&self, name: &str) -> Result<Date, Code> {
        self.instant(name).map(Timestamp::date)
    }

    fn instant(&self, name: &str) -> Result<Timestamp, Code> {
        let instant = Timestamp::parse(&self.text(name)?).ok_or(BAD_FIELD)?;
        // The first date stands for "before all dates".
        let last = Date::parse("9999-12-31").expect("a date");
        match Date::FIRST.next().start() <= instant && instant < last.next().start() {
            true => Ok(instant),
            false => Err(BAD_FIELD),
        }
    }

    /// A number may stand as a number or as a text.
    fn number_text(&self, name: &str) -> Result<Cow<'a, str>, Code> {
        let raw = self.raw(name).ok_or(MISSING)?;
        match raw.starts_with('"') {
            true => unquoted(raw),
            false => Ok(Cow::Borrowed(raw)),
        }
    }

    fn version(&self) -> Result<i64, Code> {
        if !self.has("source_version") {
            return Ok(0);
        }
        let text = self.number_text("source_version")?;
        text.trim().parse().map_err(|_| BAD_FIELD)
    }
}

/// What stands between the quotes of a text.
fn unquoted(raw: &str) -> Result<Cow<'_, str>, Code> {
    let quoted = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match quoted {
        None => Err(BAD_FIELD),
        Some(plain) if !plain.contains('\\') => Ok(Cow::Borrowed(plain)),
        Some(_) => serde_json::from_str(raw).map(Cow::Owned).map_err(|_| BAD_FIELD),
    }
}

/// Reads numbers and remembers whether one of them is out of the range of inputs.
#[derive(Default)]
struct Numbers {
    too_large: bool,
}

impl Numbers {
    fn read(&mut self, fields: &Fields<'_>, name: &str) -> Result<Amount, Code> {
        match Amount::parse(&fields.number_text(name)?) {
            Ok(amount) => {
                self.too_large |= amount.raw().abs() >= 10_i128.pow(12) * Amount::ONE.raw();
                Ok(amount)
            }
            Err(ParseAmountError::TooLarge) => {
                self.too_large = true;
                Ok(Amount::ZERO)
            }
            Err(ParseAmountError::NotANumber) => Err(BAD_FIELD),
        }
    }

    fn within_limits(&self) -> Result<(), Code> {
        match self.too_large {
            true => Err(TOO_LARGE),
            false => Ok(()),
        }
    }
}
